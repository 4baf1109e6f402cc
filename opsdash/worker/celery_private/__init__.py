"""Every private name of Celery, kombu and billiard that the plug-in leans on, in one place and behind one check.

Tried with Celery 5.4, 5.5, 5.6 and 5.7. When a name moves, ``missing`` says which; the worker then works as if opsdash
were not there, and its health says why it can't pause.
"""

from opsdash.worker.celery_private.check import guard as guard
from opsdash.worker.celery_private.check import guard_needs as guard_needs
from opsdash.worker.celery_private.check import missing as missing
from opsdash.worker.celery_private.failures import watch_failures as watch_failures
from opsdash.worker.celery_private.fetching import consumed_queues as consumed_queues
from opsdash.worker.celery_private.fetching import fetch_s as fetch_s
from opsdash.worker.celery_private.fetching import is_fetching as is_fetching
from opsdash.worker.celery_private.fetching import renew_strategy as renew_strategy
from opsdash.worker.celery_private.fetching import replace_queue_cycle as replace_queue_cycle
from opsdash.worker.celery_private.fetching import update_queue_cycle as update_queue_cycle
from opsdash.worker.celery_private.green_loop import wake_in_green_loop as wake_in_green_loop
from opsdash.worker.celery_private.pools import children_live as children_live
from opsdash.worker.celery_private.pools import is_green as is_green
from opsdash.worker.celery_private.pools import pool_name as pool_name
from opsdash.worker.celery_private.rate_limits import accepted as accepted
from opsdash.worker.celery_private.rate_limits import celerys_own_timers as celerys_own_timers
from opsdash.worker.celery_private.rate_limits import follows_rate_limits as follows_rate_limits
from opsdash.worker.celery_private.rate_limits import limit_rate as limit_rate
from opsdash.worker.celery_private.rate_limits import one_timer_per_bucket as one_timer_per_bucket
from opsdash.worker.celery_private.rate_limits import waits_for_rate as waits_for_rate
from opsdash.worker.celery_private.reserved_requests import Predicate as Predicate
from opsdash.worker.celery_private.reserved_requests import forget as forget
from opsdash.worker.celery_private.reserved_requests import is_reserved as is_reserved
from opsdash.worker.celery_private.reserved_requests import newest_first as newest_first
from opsdash.worker.celery_private.reserved_requests import release_slots as release_slots
from opsdash.worker.celery_private.reserved_requests import reserved as reserved
from opsdash.worker.celery_private.reserved_requests import scheduled as scheduled
from opsdash.worker.celery_private.reserved_requests import take_rate_limited as take_rate_limited
from opsdash.worker.celery_private.reserved_requests import take_unwritten as take_unwritten
from opsdash.worker.celery_private.reserved_requests import take_waiting_for_a_process as take_waiting_for_a_process
from opsdash.worker.celery_private.reserved_requests import unschedule as unschedule
from opsdash.worker.celery_private.reserved_requests import unstarted as unstarted
from opsdash.worker.celery_private.reserved_requests import watch_end as watch_end
from opsdash.worker.celery_private.started import watch_starts as watch_starts
from opsdash.worker.celery_private.workload import accounted as accounted
from opsdash.worker.celery_private.workload import active as active
from opsdash.worker.celery_private.workload import counts as counts
from opsdash.worker.celery_private.workload import fetch_settings as fetch_settings
from opsdash.worker.celery_private.workload import held_by_queue as held_by_queue
from opsdash.worker.celery_private.workload import pool_facts as pool_facts
from opsdash.worker.celery_private.workload import running as running
from opsdash.worker.celery_private.workload import stopping as stopping
from opsdash.worker.celery_private.workload import unstarted_by_queue as unstarted_by_queue
