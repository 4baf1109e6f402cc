// Who works, and whether the tenants' configurations in Redis are those of the database.
const KNOWN = [
  ['state', 'State', (v) => v.filter(Boolean).slice(1).join(', ')],
  ['queues', 'Queues'],
  ['active', 'Running', number],
  ['oldest', 'Oldest running task', 'since'],
  ['reserved', 'Reserved (fetched, not started)', number],
  ['scheduled', 'Scheduled (ETA)', number],
  ['processed', 'Processed since its start', number],
  ['started', 'Started, by queue'],
  ['slots', 'Slots', number],
  ['pool', 'Pool'],
  ['pid', 'Process', String],
  ['memory', 'Memory', bytes],
  ['pause', 'Pause applied', (v) => v.filter(Boolean).slice(1).join(', ')],
  ['epoch', 'Pause epoch', String],
  ['version', 'opsdash']
]
const workerHealth = (page) => {
  const refresh = button(
    'Refresh',
    () => {
      refresh.disabled = true
      page.send({type: 'refresh'})
    },
    {look: 'refresh'}
  )
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
  const table = keyedTable({
    label: 'Workers',
    columns: [
      {field: 'hostname', title: 'Worker'},
      {field: 'state', title: 'State', kind: 'state', rank: 'rank'},
      {field: 'since', title: 'Uptime', kind: 'since'},
      {field: 'active', title: 'Busy slots', kind: 'bar', of: 'slots'},
      {field: 'processed', title: 'Processed', kind: 'number'},
      {field: 'reserved', title: 'Reserved', kind: 'number', more: true},
      {field: 'scheduled', title: 'Scheduled', kind: 'number', more: true},
      {field: 'memory', title: 'Memory', kind: 'bytes'},
      {field: 'seen', title: 'Heartbeat', kind: 'ago', more: true},
      {field: 'queues', title: 'Queues'},
      {field: 'pool', title: 'Pool', more: true},
      {field: 'version', title: 'Version', more: true},
      {field: 'pause', title: 'Pause applied', kind: 'state'}
    ],
    details: (row, now) =>
      KNOWN.filter(([f]) => row[f] != null && row[f] !== '')
        .map(
          ([f, label, say]) =>
            `${label}: ${say === 'since' ? `since ${duration(now - row[f])}` : say ? say(row[f]) : row[f]}`
        )
        .join('\n')
  })
  const nobody = el('p', {class: 'none', hidden: true})
  const card = section('Worker Health', ['overview', 'workers'], {
    note,
    acts: [find, refresh],
    body: [nobody, table.node],
    place: 'full'
  })
  return {
    node: card,
    tabs: ['overview', 'workers'],
    ready: () => {
      refresh.disabled = false
    },
    find,
    update(state, view) {
      const words = (view.find || '').toLowerCase().split(/\s+/).filter(Boolean)
      if (find.value !== (view.find || '')) find.value = view.find || ''
      const all = ROWS(state.workers).sort(byRank)
      const rows = words.length
        ? all.filter((row) =>
            words.every((word) =>
              [row.hostname, row.state[1], row.queues, row.pool, row.version, row.pause[1]]
                .join(' ')
                .toLowerCase()
                .includes(word)
            )
          )
        : all
      const read = state.status.read_at
      put(note, read ? `Last updated ${utc(read)} UTC` : 'Not read yet')
      note.title = read ? `${local(read)} here` : ''
      table.update(rows, {at: page.now(), nothing: all.length ? 'No worker matches this filter.' : ''})
      put(nobody, state.status.nobody || '')
      nobody.hidden = !nobody.textContent
    },
    tick: table.tick
  }
}

const tenantConfiguration = (page) => {
  const sync = button('Sync Tenant Configs', () => page.ask('sync_tenant_configs', {}, sync), {look: 'sync'})
  const compare = button(
    'Compare now',
    () => {
      compare.disabled = true
      page.send({type: 'compare'})
    },
    {look: 'look'}
  )
  const figure = el('span', {class: 'value'}),
    unit = el('small'),
    drift = el('p', {class: 'drift'}, dot(), el('span'))
  const tiles = el('div', {class: 'tiles'}),
    table = keyedTable({
      label: 'Tenants that differ',
      columns: [
        {field: 'name', title: 'Tenant'},
        {field: 'state', title: 'A sync would', kind: 'state'},
        {field: 'fields', title: 'Because'}
      ]
    })
  const more = el('div', {class: 'compared', hidden: true}, tiles, table.node)
  compare.dataset.more = ''
  const card = section('Tenant Configuration', ['overview', 'tenants'], {
    acts: [compare, sync],
    place: 'narrow',
    body: [
      el(
        'div',
        {class: 'inner'},
        el('div', {class: 'figure'}, figure, unit),
        drift,
        el('p', {
          class: 'mute',
          text: 'A sync writes every tenant’s configuration from the database to Redis, without secrets.'
        })
      ),
      more
    ]
  })
  return {
    node: card,
    tabs: ['overview', 'tenants'],
    ready: () => {
      compare.disabled = false
    },
    update(state, view) {
      const {count, words, tone, drift: said} = state.tenants
      put(figure, count == null ? '–' : number(count))
      put(unit, words)
      drift.firstChild.dataset.tone = tone
      put(drift.lastChild, said)
      gate(sync, state.controls.sync)
      more.hidden = !view.compared || view.tab !== 'tenants'
    },
    compared({tiles: given, rows}) {
      tiles.replaceChildren(
        ...given.map(([label, value]) =>
          el('div', {class: 'tile'}, el('strong', {text: number(value)}), el('span', {text: label}))
        )
      )
      table.update(rows, {at: page.now(), nothing: 'Every key in Redis is as the database has it.'})
    }
  }
}
