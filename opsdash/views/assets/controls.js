// The three cards an operator acts from. Buttons are Panel's own, put in as children: gating them is Python's business.
export function render({model}) {
  const make = (tag, name, text) => { const e = document.createElement(tag); if (name) e.className = name; if (text != null) e.textContent = text; return e }
  const deck = make('div', 'deck'), role = make('p', 'role')
  deck.append(role)
  const card = (title, ...parts) => { const s = make('section', 'card'); s.append(make('h2', '', title), ...parts); deck.append(s); return s }
  const acts = (...names) => { const row = make('div', 'acts'); row.append(...names.map((n) => model.get_child(n))); return row }
  const set = (node, text) => { if (node.textContent !== text) node.textContent = text }

  card('Worker Control', make('p', '', 'A pause stops workers from picking up new tasks. Running tasks finish, nothing is lost.'), acts('pause', 'resume'))

  const list = make('div', 'queues')
  list.setAttribute('role', 'radiogroup')
  list.setAttribute('aria-label', 'Queue')
  const nothing = make('p', 'note', 'No queue is known yet.')
  card('Queue Operations', list, nothing, acts('pause_queue', 'resume_queue', 'clear'))
  const rows = new Map()
  const group = 'queue-' + Math.random().toString(36).slice(2)

  const tenants = make('div', 'big')
  tenants.append(document.createTextNode(''), make('small'))
  card('Tenant Configuration', tenants, make('p', '', 'Writes every tenant’s configuration from the database to Redis, without secrets.'), acts('sync'))

  const draw = () => {
    set(role, model.note)
    role.hidden = !model.note
    tenants.firstChild.nodeValue = model.tenants
    set(tenants.lastChild, model.tenants_unit)
    nothing.hidden = model.queues.length > 0
    list.hidden = model.queues.length === 0
    const seen = new Set()
    let at = list.firstChild
    for (const [name, count, pause] of model.queues) {
      seen.add(name)
      let row = rows.get(name)
      if (!row) {
        const label = make('label'), radio = make('input'), text = make('span', 'name', name), held = make('span', 'pause'), number = make('span', 'count')
        const dot = make('span', 'dot')
        radio.type = 'radio'
        radio.name = group
        radio.onchange = () => { model.selected = name }
        dot.dataset.tone = 'warn'
        held.append(dot, make('span', '', 'paused'))
        label.append(radio, text, held, number)
        label.title = name
        row = {label, radio, held, number}
        rows.set(name, row)
      }
      row.radio.checked = name === model.selected
      row.held.hidden = !pause
      row.held.style.display = pause ? '' : 'none'
      set(row.number, count)
      if (row.label === at) at = at.nextSibling
      else list.insertBefore(row.label, at)
    }
    for (const [name, row] of rows) if (!seen.has(name)) { row.label.remove(); rows.delete(name) }
  }
  draw()
  for (const name of ['queues', 'selected', 'tenants', 'tenants_unit', 'note']) model.on(name, draw)
  return deck
}
