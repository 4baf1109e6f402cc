// Whether the tenants’ configurations in Redis are those of the database, and what a sync would do.
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
  const age = el('p', {class: 'mute'}),
    more = el('div', {class: 'compared', hidden: true}, age, tiles, table.node)
  let comparedAt = null
  const tell = (now) => put(age, comparedAt ? `Compared at ${utc(comparedAt)} UTC, ${duration(now - comparedAt)} ago` : '')
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
      card.hidden = !state.tenants.shown
      put(figure, count == null ? '–' : number(count))
      put(unit, words)
      drift.firstChild.dataset.tone = tone
      put(drift.lastChild, said)
      gate(sync, state.controls.sync)
      // A sync that ended after it has made it untrue.
      if (view.compared && state.tenants.synced > comparedAt) view.compared = false
      more.hidden = !view.compared || view.tab !== 'tenants'
      tell(page.now())
    },
    tick: (now) => {
      table.tick(now)
      tell(now)
    },
    compared({at, tiles: given, rows}) {
      comparedAt = at
      tiles.replaceChildren(
        ...given.map(([label, value]) =>
          el('div', {class: 'tile'}, el('strong', {text: number(value)}), el('span', {text: label}))
        )
      )
      table.update(rows, {at: page.now(), nothing: 'Every key in Redis is as the database has it.'})
    }
  }
}

// In its place where nobody has tenants: one line that says how to turn them on.
const noTenants = () => {
  const node = el('p', {class: 'full aside'})
  return {
    node,
    tabs: ['overview', 'tenants'],
    update({tenants}) {
      put(node, tenants.unused)
      node.hidden = !tenants.unused
    }
  }
}
