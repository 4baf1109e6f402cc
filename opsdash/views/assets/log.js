// The operations log: the newest live, and every page of it with filters where it is at home.
const operationsLog = (page) => {
  const exported = button(
    'Export Logs',
    () => {
      exported.disabled = true
      page.send({type: 'export', filter: filter()})
    },
    {look: 'export'}
  )
  const prune = button('Prune Audit Log', () => page.ask('prune_audit_log', {}, prune), {look: 'clear', kind: 'danger'})
  prune.dataset.more = ''
  const box = (name, words, list) =>
    el(
      'select',
      {name, 'aria-label': words, onchange: () => changed()},
      el('option', {value: '', text: words}),
      ...list.map(([value, text]) => el('option', {value, text}))
    )
  const fields = {
    text: el('input', {
      type: 'search',
      class: 'find',
      placeholder: 'Search in the details',
      'aria-label': 'Search in the details',
      onchange: () => changed()
    }),
    user: el('input', {
      type: 'search',
      class: 'find short',
      placeholder: 'User',
      'aria-label': 'User',
      onchange: () => changed()
    }),
    operation: box('operation', 'All operations', page.constants.operations),
    status: box('status', 'All statuses', page.constants.statuses),
    since: box('since', 'Any time', [
      ['3600', 'Last hour'],
      ['86400', 'Last 24 hours'],
      ['604800', 'Last 7 days'],
      ['2592000', 'Last 30 days']
    ]),
    broker: box('broker', 'All brokers', [['this', 'This broker']])
  }
  const filter = () =>
    Object.fromEntries(
      Object.entries(fields)
        .map(([name, field]) => [name, field.value])
        .filter(([, value]) => value)
    )
  const newest = button(
      'Newest',
      () => {
        at = []
        read()
      },
      {small: true}
    ),
    older = button(
      'Older',
      () => {
        at.push(next)
        read()
      },
      {small: true}
    )
  const place = el('span', {class: 'note'})
  const table = keyedTable({
    label: 'Operations',
    details: () => {
      const when = el('p', {class: 'mute'}),
        json = el('pre')
      return {
        node: el('div', {}, when, json),
        update(row) {
          put(when, `${local(row.timestamp, {date: true})} here${row.why ? ` · Reason: ${row.why}` : ''}${row.broker ? ` · Broker: ${row.broker}` : ''}`)
          put(json, row.json)
        }
      }
    },
    columns: [
      {field: 'timestamp', title: 'Timestamp (UTC)', kind: 'time'},
      {field: 'user', title: 'User'},
      {field: 'operation', title: 'Operation'},
      {field: 'status', title: 'Status', kind: 'state'},
      {field: 'summary', title: 'Details', whole: true},
      {field: 'took', title: 'Took', more: true},
      {field: 'surface', title: 'From', more: true},
      {field: 'acts', title: '', kind: 'acts'}
    ],
    act: (row, name, opener) => page.ask(name, row.undo.args, opener, null, row.undo.half)
  })
  const filters = el(
    'div',
    {class: 'filters', 'data-more': true, role: 'search', 'aria-label': 'Operations log'},
    ...Object.values(fields)
  )
  const paging = el('div', {class: 'filters paging', 'data-more': true}, place, newest, older)
  const card = section('Recent Operations', ['overview', 'operations'], {
    acts: [prune, exported],
    body: [filters, table.node, paging],
    place: 'full'
  })
  let at = [],
    next = null,
    found = null,
    mark = ''
  const read = () => page.send({type: 'log', filter: filter(), after: at[at.length - 1] || ''})
  const changed = () => {
    at = []
    page.view.log = filter()
    page.address()
    read()
  }
  return {
    node: card,
    tabs: ['overview', 'operations'],
    ready: () => {
      exported.disabled = false
    },
    open(view) {
      for (const [name, value] of Object.entries(view.log || {})) if (fields[name]) fields[name].value = value
      read()
    },
    page(msg) {
      found = msg.rows
      next = msg.after
      older.disabled = !next
      newest.disabled = at.length === 0
      // A page of a search that ended at its bound is not full: its entries have no numbers.
      const from = number(at.length * msg.limit + 1),
        to = number(at.length * msg.limit + found.length),
        of = msg.total == null ? '' : ` of ${number(msg.total)}`
      put(place, msg.searched || (found.length ? `${from} to ${to}${of}` : ''))
      page.redraw()
    },
    update(state, view) {
      prune.hidden = !state.controls.prune
      const home = view.tab === 'operations',
        live = ROWS(state.log).sort((a, b) => b.timestamp - a.timestamp || (a.key < b.key ? 1 : -1))
      // Something new was logged: the page that shows the newest shows it too.
      const newestNow = JSON.stringify(live.map((row) => [row.key, row.status]))
      if (home && mark && mark !== newestNow && at.length === 0) read()
      mark = newestNow
      const undo = new Map(live.map((row) => [row.key, row.acts]))
      const rows =
        home && found ? found.map((row) => (undo.has(row.key) ? {...row, acts: undo.get(row.key)} : row)) : live
      // Several deployments on one database: only then there is something to choose.
      const others = fields.broker.value || [...live, ...(found || [])].some((row) => row.broker)
      fields.broker.hidden = !others
      table.update(rows, {
        at: page.now(),
        nothing: home && Object.keys(filter()).length ? 'No entry matches this filter.' : state.status.no_log || ''
      })
    }
  }
}
