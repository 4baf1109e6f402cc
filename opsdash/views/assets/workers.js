// Who works, and on what: a row opens to the worker's figures and to the tasks that it runs right now.
const KNOWN = [
  ['state', 'State', (v) => v.filter(Boolean).slice(1).join(', ')],
  ['queues', 'Queues'],
  ['started', 'Started, by queue'],
  ['active', 'Running', number],
  ['oldest', 'Oldest running task', 'since'],
  ['reserved', 'Reserved, not started', number],
  ['scheduled', 'Scheduled (ETA)', number],
  ['processed', 'Processed since its start', number],
  ['failed', 'Failed since its start', number],
  ['slots', 'Slots', number],
  ['pool', 'Pool'],
  ['pid', 'Process', String],
  ['load', 'Load of its machine', (v) => number(v, 2)],
  ['memory', 'Memory', bytes],
  ['pause', 'Pause applied', (v) => v.filter(Boolean).slice(1).join(', ')],
  ['epoch', 'Pause epoch', String],
  ['build', 'Build'],
  ['version', 'opsdash']
]
// `told`: hostname → the tasks it runs, as rows by id; nothing until the server has read them.
const workerDetails = (page, told) => (row) => {
  const words = new Map()
  const facts = el(
    'dl',
    {class: 'facts'},
    ...KNOWN.map(([field, label]) => {
      const word = el('dd'),
        fact = el('div', {}, el('dt', {text: label}), word)
      words.set(field, [fact, word])
      return fact
    })
  )
  const table = keyedTable({
    label: `Running on ${row.hostname}`,
    columns: [
      {field: 'name', title: 'Task'},
      {field: 'key', title: 'Id'},
      {field: 'queue', title: 'Queue'},
      {field: 'since', title: 'Running for', kind: 'since'},
      {field: 'acts', title: '', kind: 'acts', pin: true}
    ],
    act: (task, name, opener) => page.ask(name, {task_id: task.key}, opener, () => table.node)
  })
  const title = el('h3'),
    more = el('p', {class: 'mute', hidden: true})
  const nothing = (now) => {
    if (now.key.startsWith('other:')) return 'An unmanaged worker does not report its running tasks.'
    if (!told.has(now.key)) return ['silent', 'offline'].includes(now.state[1]) ? 'It does not report.' : 'Reading …'
    return now.active ? `${number(now.active)} running, without names.` : 'Nothing runs right now.'
  }
  return {
    node: el('div', {class: 'worker'}, title, table.node, more, facts),
    update(now, at) {
      const rows = ROWS(told.get(now.key)).sort((a, b) => (a.since ?? at) - (b.since ?? at) || (a.key < b.key ? -1 : 1))
      put(title, ['silent', 'offline'].includes(now.state[1]) ? 'Running when it last reported' : 'Running now')
      table.update(rows, {at, nothing: nothing(now)})
      more.hidden = !(rows.length >= MOST_TOLD && now.active > rows.length)
      put(more, `and ${number(now.active - rows.length)} more`)
      for (const [field, , say] of KNOWN) {
        const [fact, word] = words.get(field),
          value = now[field]
        fact.hidden = value == null || value === ''
        if (!fact.hidden) put(word, say === 'since' ? duration(at - value) : say ? say(value) : value)
      }
    },
    tick: table.tick
  }
}
const MOST_TOLD = 20 // running tasks of one worker that are reported

const workerHealth = (page) => {
  const refresh = button(
    'Refresh',
    () => {
      refresh.disabled = true
      page.send({type: 'refresh'})
    },
    {look: 'refresh'}
  )
  const revoke = button('Revoke Task', () => page.ask('revoke_task', {}, revoke), {look: 'close'})
  revoke.dataset.more = ''
  const note = el('span', {class: 'note'})
  const find = el('input', {
    type: 'search',
    class: 'find',
    placeholder: 'Filter workers',
    'aria-label': 'Filter workers',
    'data-more': true,
    oninput: () => {
      page.view.find = find.value
      page.address()
      page.redraw()
    }
  })
  const told = new Map()
  let asked = '[]'
  const table = keyedTable({
    label: 'Workers',
    columns: [
      {field: 'hostname', title: 'Worker'},
      {field: 'state', title: 'State', kind: 'state', rank: 'rank'},
      {field: 'since', title: 'Uptime', kind: 'since'},
      {field: 'active', title: 'Busy slots', kind: 'bar', of: 'slots'},
      {field: 'processed', title: 'Processed', kind: 'number'},
      {field: 'failed', title: 'Failed', kind: 'number'},
      {field: 'load', title: 'Load', kind: 'decimal'},
      {field: 'memory', title: 'Memory', kind: 'bytes'},
      {field: 'seen', title: 'Heartbeat', kind: 'ago', more: true},
      {field: 'queues', title: 'Queues'},
      {field: 'pool', title: 'Pool', more: true},
      {field: 'version', title: 'Version', more: true},
      {field: 'pause', title: 'Pause applied', kind: 'state'},
      {field: 'acts', title: '', kind: 'acts', pin: true}
    ],
    details: workerDetails(page, told),
    opened: new Set(page.view.open),
    folded: () => {
      page.view.open = table.open()
      page.address()
      follow()
    },
    act: (row, name, opener) => page.ask(name, {hostname: row.hostname}, opener, () => table.node)
  })
  // The server reads what these run, and what has changed of it, until others are open.
  const follow = (seen = true) => {
    const wanted = seen ? table.open().filter((key) => !key.startsWith('other:')) : []
    if (JSON.stringify(wanted) === asked) return
    asked = JSON.stringify(wanted)
    for (const key of told.keys()) if (!wanted.includes(key)) told.delete(key)
    page.send({type: 'open', workers: wanted})
  }
  const nobody = el('p', {class: 'none', hidden: true})
  const card = section('Worker Health', ['overview', 'workers'], {
    note,
    acts: [find, revoke, refresh],
    body: [nobody, table.node],
    place: 'full'
  })
  return {
    node: card,
    tabs: ['overview', 'workers'],
    ready: () => {
      refresh.disabled = false
    },
    running(msg) {
      if (!JSON.parse(asked).includes(msg.worker)) return
      told.set(msg.worker, msg.rows)
      page.redraw()
    },
    leave: () => follow(false),
    update(state, view) {
      const words = (view.find || '').toLowerCase().split(/\s+/).filter(Boolean)
      if (find.value !== (view.find || '')) find.value = view.find || ''
      const all = ROWS(state.workers).sort(byRank)
      const rows = words.length
        ? all.filter((row) =>
            words.every((word) =>
              [row.hostname, row.state[1], row.queues, row.pool, row.build, row.version, row.pause[1]]
                .join(' ')
                .toLowerCase()
                .includes(word)
            )
          )
        : all
      const read = state.status.read_at
      gate(revoke, state.controls.revoke)
      put(note, read ? `Last updated ${utc(read)} UTC` : 'Not read yet')
      note.title = read ? `${local(read)} here` : ''
      table.update(rows, {at: page.now(), nothing: all.length ? 'No worker matches this filter.' : ''})
      follow()
      put(nobody, state.status.nobody || '')
      nobody.hidden = !nobody.textContent
    },
    tick: table.tick
  }
}
