// A keyed table in a card: only changed cells touch the DOM, and text is never parsed as HTML (textContent only).
// Cell kinds: text | right (text, right-aligned) | number | state | acts. A state's value is [tone, word, remark]; acts are
// [name, label, remark] each: a click sends the row's key and the name.
export function render({model}) {
  const make = (tag, name) => { const e = document.createElement(tag); if (name) e.className = name; return e }
  const card = make('section', 'card'), header = make('header'), title = make('h2'), note = make('span', 'note')
  const wrap = make('div', 'wrap'), table = make('table'), caption = table.createCaption(), none = make('p', 'none')
  const head = table.createTHead().insertRow(), body = table.createTBody()
  const action = make('button', 'plain')
  action.type = 'button'
  action.onclick = () => { action.disabled = true; model.send_msg({type: 'action'}) }
  caption.className = 'sr'
  wrap.tabIndex = 0
  wrap.setAttribute('role', 'region')
  wrap.append(table, none)
  header.append(title, note, action)
  card.append(header, wrap)
  const live = new Map()
  let sort = null, columns = []

  const paint = (td, kind, value) => {
    const mark = JSON.stringify(value)
    if (td.__mark === mark) return
    td.__mark = mark
    if (kind === 'acts') {
      const had = td.contains(document.activeElement) // as far as the browser lets us see into our own root
      td.replaceChildren(...(value || []).map(([name, label, remark]) => {
        const button = make('button', 'plain small'), key = td.parentNode.__row[model.key]
        button.type = 'button'
        button.textContent = label
        button.title = remark || ''
        button.onclick = () => model.send_msg({type: 'row', key: td.parentNode.__row[model.key], name})
        button.setAttribute('aria-label', `${label} ${key}`)
        return button
      }))
      if (had) td.querySelector('button')?.focus()
    } else if (kind === 'state') {
      const [tone, word, remark] = value
      if (!td.firstChild) td.append(make('span', 'dot'), document.createTextNode(''), make('small'))
      td.childNodes[0].dataset.tone = tone
      td.childNodes[1].nodeValue = word
      td.childNodes[2].textContent = remark || ''
      td.title = remark || ''
    } else {
      td.textContent = value == null ? '–' : kind === 'number' ? Number(value).toLocaleString('en-US') : String(value)
      td.title = td.textContent.length > 40 ? td.textContent : ''
    }
  }
  const toggle = (tr) => {
    const button = tr.cells[0].firstChild, open = !tr.__detail
    button.setAttribute('aria-expanded', String(open))
    if (!open) { tr.__detail.remove(); tr.__detail = null; return }
    const detail = make('tr', 'detail'), cell = detail.insertCell(), pre = make('pre')
    cell.colSpan = columns.length + 1
    pre.textContent = tr.__row[model.details]
    cell.append(pre)
    tr.after(detail)
    tr.__detail = detail
  }
  const newRow = () => {
    const tr = make('tr')
    if (model.details) {
      const td = tr.insertCell(), button = make('button')
      td.className = 'x'
      button.type = 'button'
      button.setAttribute('aria-expanded', 'false')
      button.setAttribute('aria-label', 'Show details')
      button.onclick = () => toggle(tr)
      td.append(button)
    }
    for (const c of columns) tr.insertCell().dataset.kind = c.kind || 'text'
    return tr
  }
  const drawHead = () => {
    columns = model.columns
    title.textContent = model.heading
    caption.textContent = model.heading
    wrap.setAttribute('aria-label', model.heading)
    action.textContent = model.action
    action.hidden = !model.action
    head.replaceChildren()
    if (model.details) { const th = make('th', 'x'), label = make('span', 'sr'); label.textContent = 'Details'; th.append(label); head.append(th) }
    for (const c of columns) {
      const th = make('th'), button = make('button')
      th.scope = 'col'
      th.dataset.kind = c.kind || 'text'
      button.type = 'button'
      button.textContent = c.title
      button.onclick = () => {
        sort = sort && sort.field === c.field ? (sort.way > 0 ? {field: c.field, way: -1} : null) : {field: c.field, way: 1}
        drawHead()
        draw()
      }
      if (sort && sort.field === c.field) th.setAttribute('aria-sort', sort.way > 0 ? 'ascending' : 'descending')
      th.append(button)
      head.append(th)
    }
  }
  const draw = () => {
    const rows = [...model.rows]
    const rank = (row) => { const v = row[sort.field + '_rank'] ?? row[sort.field]; return Array.isArray(v) ? v[1] : v }
    if (sort) rows.sort((a, b) => (rank(a) > rank(b) ? 1 : rank(a) < rank(b) ? -1 : 0) * sort.way)
    const seen = new Set(), first = model.details ? 1 : 0
    let at = body.firstChild
    for (const row of rows) {
      const key = row[model.key]
      seen.add(key)
      let tr = live.get(key)
      if (!tr) { tr = newRow(); live.set(key, tr) }
      tr.__row = row
      columns.forEach((c, i) => paint(tr.cells[i + first], c.kind, row[c.field]))
      if (tr.__detail) { const pre = tr.__detail.querySelector('pre'); if (pre.textContent !== row[model.details]) pre.textContent = row[model.details] }
      if (tr === at) { at = at.nextSibling; if (at && at === tr.__detail) at = at.nextSibling }
      else { body.insertBefore(tr, at); if (tr.__detail) tr.after(tr.__detail) }
    }
    for (const [key, tr] of live) if (!seen.has(key)) { tr.__detail?.remove(); tr.remove(); live.delete(key) }
    none.textContent = model.empty
    none.hidden = !model.empty
    table.hidden = rows.length === 0
    note.textContent = model.note
  }
  // "Export Logs": the CSV comes in pieces over the session's own websocket; no URL of it exists.
  let pieces = []
  model.on('msg:custom', (msg) => {
    if (msg.type === 'ready') action.disabled = false
    if (msg.type === 'piece') pieces.push(msg.text)
    if (msg.type === 'file') {
      const link = make('a')
      link.href = URL.createObjectURL(new Blob(pieces, {type: 'text/csv;charset=utf-8'}))
      link.download = msg.name
      pieces = []
      link.click()
      setTimeout(() => URL.revokeObjectURL(link.href), 10000)
    }
  })
  drawHead()
  draw()
  for (const name of ['rows', 'note', 'empty']) model.on(name, draw)
  for (const name of ['columns', 'heading', 'action']) model.on(name, () => { drawHead(); draw() })
  return card
}
