// A keyed table: only changed cells touch the DOM, so scroll, selection, focus, sort order and open rows stay. From
// `limit` rows on, only those in sight are in it. Where it is narrow, whole columns give way by their priority.
const {begin, copy, dot, el, headed, here, MOMENTS, MOVING, place, put, RIGHT, rowMenu, said, sparkline, STILL, unique} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

const CELLS = {
  state(td, [tone, word, remark]) {
    td.replaceChildren(dot(tone), el('span', {text: word}), ...(remark ? [el('small', {text: remark, title: remark})] : []))
    td.classList.toggle('long', (remark || '').length > 24)
  },
  bar: (td, value, row, column) => td.replaceChildren(
    el('progress', {max: row[column.of] || 1, value, 'aria-hidden': 'true'}), el('span', {text: said(column, row)})),
  spark: (td, line) => td.replaceChildren(sparkline(line))
}

export function render({model, view}) {
  const life = begin(model, view), menu = rowMenu()
  const none = el('p', {class: 'none'}), table = el('table'), group = unique('choice'), style = el('style')
  const caption = table.createCaption(), head = table.createTHead().insertRow(), body = table.createTBody()
  const wrap = el('div', {class: 'wrap', tabindex: 0, role: 'group'}, table, none)
  const box = headed(life, model, style, wrap, menu.node)
  const space = () => el('tr', {class: 'space', 'aria-hidden': 'true'}, el('td'))
  const above = space(), below = space(), live = new Map(), tall = new Map()
  caption.className = 'sr'
  let known = new Map(), version = 0, skew = 0, sort = null, gone = new Set(), slots = new Map()
  let height = 38, width = 0, framed = 0, narrow = false, still = false
  const frozen = () => model.frozen || view.el.matches('[data-aged]')
  const now = () => (frozen() && model.now) || Date.now() / 1000 + skew
  const lead = () => (model.selectable ? 1 : 0) + (model.expandable ? 1 : 0), span = () => model.columns.length + lead()
  const windowed = () => known.size >= model.limit
  const act = (key, name) => model.send_msg({key, name})
  const call = (row) => row.called || row.name || row.hostname || row.key

  // One cell, if what it says has changed: of lists, whether they are others.
  const paint = (td, column, row, first) => {
    const kind = column.kind || 'text', value = (narrow && td.dataset.kind === 'acts' ? null : row[column.field]) ?? null
    const custom = CELLS[kind] && value !== null
    const mark = STILL.has(kind) || custom ? value : said(column, row, now()), title = first ? left(row, 4) : ''
    const about = kind === 'acts' ? call(row) : row[column.of]
    if (td.__mark === mark && td.__title === title && td.__about === about) return
    Object.assign(td, {__mark: mark, __title: title, __about: about})
    if (kind === 'acts') return actions(td, value || [], row)
    if (custom) CELLS[kind](td, value, row, column)
    else put(td, kind === 'spark' ? '' : mark)
    if (MOMENTS.has(kind) && value !== null) td.title = here(value)
    else if (title || (windowed() && kind === 'text')) td.title = [kind === 'text' && mark, title].filter(Boolean).join(' · ')
    else td.removeAttribute('title')
  }
  const left = (row, least) => model.columns
    .filter((c) => gone.has(c.field) && !STILL.has(c.kind) && (c.priority || 2) <= least && row[c.field] != null)
    .map((c) => `${c.title} ${said(c, row, now())}`).join(' · ')
  const actions = (td, given, row) => {
    const acts = given.map((one) => (Array.isArray(one) ? {name: one[0], label: one[1], help: one[2], usual: true} : one))
    const had = td.getRootNode().activeElement, word = td.contains(had) ? had.textContent : null
    const usual = acts.filter((one) => one.usual), rest = acts.filter((one) => !one.usual)
    const button = ({name, label, help, danger, copies}) => el('button', {
      type: 'button', class: danger ? 'button small danger' : 'button small', title: help, text: label, 'data-own': copies,
      'aria-label': `${label} ${call(row)}`, onclick: ({target}) => (copies ? copy(row[copies], target) : act(row.key, name))
    })
    const again = () => (live.get(row.key)?.__under || live.get(row.key))?.querySelector('.more') || wrap
    const more = menu.opener(call(row), rest, (name) => act(row.key, name), again)
    td.replaceChildren(...usual.map(button), ...(rest.length ? [more] : []))
    if (word !== null) ([...td.children].find((b) => b.textContent === word) || td.firstChild || wrap).focus()
  }
  // Where it is narrow, a row has a second line of its whole width: remarks, what has gone, and its acts.
  const under = (tr, row) => {
    if (!narrow) return void (tr.__under = tr.__under?.remove())
    const group = () => el('div', {class: 'acts', role: 'group', 'aria-label': 'Actions'})
    const inside = () => el('td', {colspan: span()}, el('div', {}, el('span'), group()))
    tr.__under ||= el('tr', {class: 'under', onclick: tr.onclick}, inside())
    const [words, acts] = tr.__under.firstChild.firstChild.children
    const remarks = model.columns.map((c) => c.kind === 'state' && !gone.has(c.field) && row[c.field]?.[2])
    put(words, [...remarks, left(row, 3)].filter(Boolean).join(' · '))
    for (const column of model.columns) if (column.kind === 'acts') paint(acts, column, row)
    tr.__under.hidden = !words.textContent && !acts.childNodes.length
  }
  const fill = (tr) => model.columns.forEach((column, i) => paint(tr.cells[i + lead()], column, tr.__row, i === 0))
  const toggle = (key) => { model.expanded = [...new Set(model.expanded).symmetricDifference(new Set([key]))] }
  const made = (key) => {
    const radio = () => el('input', {type: 'radio', name: group, onchange: () => { model.selected = key }})
    const opener = () => el('button', {type: 'button', onclick: () => toggle(key)})
    const tr = el('tr'), x = (node) => el('td', {class: 'x'}, node)
    tr.append(...[model.selectable && x(radio()), model.expandable && x(opener())].filter(Boolean))
    tr.append(...model.columns.map(({kind, pin, whole}) => el('td', {
      'data-kind': kind || 'text', 'data-pin': pin, 'data-whole': whole, 'data-right': RIGHT.has(kind),
      'aria-label': kind === 'acts' && 'Actions'
    })))
    tr.onclick = (event) => {
      if (event.target.closest('button, input, a') || String(getSelection())) return
      if (model.selectable) model.selected = key
      else if (model.expandable) toggle(key)
    }
    return tr
  }
  const heads = () => {
    const hidden = (text) => el('th', {class: 'x', scope: 'col'}, el('span', {class: 'sr', text}))
    head.replaceChildren(
      ...(model.selectable ? [hidden('Choose')] : []), ...(model.expandable ? [hidden('Details')] : []),
      ...model.columns.map((column) => {
        const {field, kind, pin, title, help} = column, way = sort?.field === field ? sort.way : 0
        const turn = () => {
          sort = way < 0 ? null : {field, way: way > 0 ? -1 : 1}
          heads()
          head.cells[model.columns.indexOf(column) + lead()].firstChild.focus()
          draw()
        }
        const inside = STILL.has(kind)
          ? el('span', {class: title ? 'still' : 'sr', text: title || 'Actions'})
          : el('button', {type: 'button', text: title, onclick: turn})
        const props = {scope: 'col', title: help, 'data-kind': kind || 'text', 'data-pin': pin, 'data-right': RIGHT.has(kind)}
        return el('th', {...props, 'aria-sort': way ? (way > 0 ? 'ascending' : 'descending') : null}, inside)
      })
    )
  }
  const ordered = () => {
    const column = sort && model.columns.find((c) => c.field === sort.field)
    if (!column) return [...known.keys()]
    const value = (key) => { const v = known.get(key)[column.rank || column.field]; return Array.isArray(v) ? v[1] : v }
    const order = (x, y) => (x == null || y == null ? (x == null) - (y == null) : (x > y ? 1 : x < y ? -1 : 0) * sort.way)
    return [...known.keys()].map((key) => [key, value(key)]).sort(([, x], [, y]) => order(x, y)).map(([key]) => key)
  }
  // Of all keys those in sight, with some around them, and how much room those before and after take.
  const sight = (keys) => {
    if (!windowed()) return [keys, 0, 0, 0]
    const margin = 12 * height, top = wrap.scrollTop - margin, end = wrap.scrollTop + wrap.clientHeight + margin, seen = []
    let at = 0, from = null, before = 0, after = 0
    keys.forEach((key, i) => {
      const size = height + (slots.has(key) ? tall.get(key) || 160 : 0)
      if (at + size < top) before += size
      else if (at > end) after += size
      else { from ??= i; seen.push(key) }
      at += size
    })
    return [seen, before, after, from || 0]
  }
  const unfold = (tr, key, open) => {
    const content = slots.get(key), button = tr.querySelector('.x > button')
    Object.assign(button, {ariaExpanded: open, ariaLabel: `${open ? 'Hide' : 'Show'} details of ${call(known.get(key))}`})
    if (tr.__detail && !(open && content)) tr.__detail = tr.__detail.remove()
    if (!open || !content) return
    const inside = () => el('div', {class: 'inside'}, el('p', {class: 'facts'}), el('div'))
    tr.__detail ||= el('tr', {class: 'detail'}, el('td', {colspan: span(), 'aria-label': 'Details'}, inside()))
    const [facts, body] = tr.__detail.firstChild.firstChild.children
    place(body, [content])
    put(facts, left(known.get(key), 4))
  }
  const drop = (key, tr) => { for (const node of [tr, tr.__under, tr.__detail]) node?.remove(); live.delete(key) }
  const draw = () => {
    const keys = ordered(), [seen, before, after, from] = sight(keys), wanted = new Set(seen), open = new Set(model.expanded)
    const root = wrap.getRootNode(), held = body.contains(root.activeElement) ? root.activeElement : null, order = []
    wrap.classList.toggle('windowed', windowed())
    wrap.classList.toggle('frozen', model.frozen)
    for (const [key, tr] of live) if (!wanted.has(key)) drop(key, tr)
    seen.forEach((key, i) => {
      const tr = live.get(key) || made(key), row = known.get(key)
      live.set(key, tr)
      tr.__row = row
      fill(tr)
      tr.ariaRowIndex = windowed() ? from + i + 2 : null
      if (model.selectable) {
        const radio = tr.cells[0].firstChild
        radio.setAttribute('aria-label', call(row))
        radio.checked = key === model.selected
        tr.classList.toggle('chosen', radio.checked)
      }
      if (model.expandable) unfold(tr, key, open.has(key))
      under(tr, row)
      order.push(...[tr, tr.__under, tr.__detail].filter(Boolean))
    })
    for (const [node, room] of [[above, before], [below, after]]) {
      node.firstChild.style.height = `${room}px`
      if (!room) node.remove()
    }
    if (before) order.unshift(above)
    if (after) order.push(below)
    let at = body.firstChild
    for (const node of order) {
      if (node === at) at = at.nextSibling
      else body.insertBefore(node, at)
    }
    // A row that moved has lost the focus that was in it; one that is gone leaves it with the table.
    if (held && !body.contains(root.activeElement)) (held.isConnected ? held : wrap).focus({preventScroll: true})
    table.ariaRowCount = windowed() ? keys.length + 1 : null
    if (windowed()) {
      const first = live.get(seen[0])
      if (first?.offsetHeight) height = first.offsetHeight + (first.__under?.offsetHeight || 0)
      for (const [key, tr] of live) if (tr.__detail) tall.set(key, tr.__detail.offsetHeight)
    }
    table.hidden = !keys.length
    put(none, keys.length ? '' : model.empty)
  }
  // Which columns there is room for: the highest priority goes first, from the right. On a phone acts and what goes are below.
  const fit = () => {
    const room = wrap.clientWidth
    if (!room || !known.size) return
    const going = model.columns.map((column, i) => [column.priority || 2, i]).filter(([p]) => p > 1)
    const cells = (i) => `tr:not(.detail, .space, .under) > :nth-child(${i + lead() + 1})`
    const hide = (i) => { style.textContent += `${cells(i)} { display: none }` }
    const measure = (below) => {
      narrow = wrap.classList.toggle('narrow', below)
      for (const tr of live.values()) fill(tr)
      if (narrow) model.columns.forEach(({kind}, i) => kind === 'acts' && hide(i))
      table.classList.add('measured')
      const all = [table.offsetWidth, ...[...head.cells].slice(lead()).map((cell) => cell.offsetWidth)]
      table.classList.remove('measured')
      return all
    }
    ;[gone, style.textContent] = [new Set(), '']
    let [need, ...widths] = measure(false)
    if (room < 560 && need > room) [need, ...widths] = measure(true)
    for (const [, i] of going.sort(([p, i], [q, j]) => q - p || j - i)) {
      if (need <= room) break
      need -= widths[i]
      gone.add(model.columns[i].field)
      hide(i)
    }
    wrap.classList.toggle('tight', need > room) // words are broken where nothing else can give way
    draw()
  }
  const rebuild = () => { for (const [key, tr] of live) drop(key, tr); heads(); draw(); fit() }
  const take = (told) => { known = new Map(told.rows.map((row) => [row.key, row])); version = told.version }
  const follow = (text) => {
    const told = text ? JSON.parse(text) : null
    if (!told || told.version === version) return
    if (told.from !== version) return void model.send_msg({all: true})
    version = told.version
    for (const row of told.changed) known.set(row.key, {...known.get(row.key), ...row})
    if (told.order) known = new Map(told.order.map((key) => [key, known.get(key)]))
  }
  const filled = (nodes) => { slots = new Map(model.opened.map((key, i) => [key, nodes[i]]).filter(([, node]) => node)); draw() }
  const change = () => {
    const had = known.size, may = model.columns.some((c) => (c.priority || 2) > 1 && !gone.has(c.field))
    follow(model.patch)
    draw()
    if (!had || (may && wrap.scrollWidth > wrap.clientWidth + 1)) fit()
  }
  const all = (text) => { take(JSON.parse(text)); draw(); fit() }
  // Only what moves, and once more when that stops: of a sorted table the order of ages stays as it is.
  const tick = () => {
    const moving = model.columns.map((column, i) => [column, i + lead()]).filter(([c]) => MOVING.has(c.kind))
    if (still && frozen()) return
    still = frozen()
    for (const tr of moving.length ? live.values() : []) {
      for (const [column, i] of moving) paint(tr.cells[i], column, tr.__row, i === lead())
      under(tr, tr.__row)
    }
  }
  take(JSON.parse(model.rows))
  heads()
  follow(model.patch)
  life.follow('now', () => { skew = model.now ? model.now - Date.now() / 1000 : 0 })
  life.follow('title', () => { put(caption, model.title); wrap.setAttribute('aria-label', `${model.title}, table`) })
  model.on('patch', change)
  model.on('rows', () => all(model.rows))
  model.on('msg:custom', (msg) => { if (msg.rows) all(msg.rows) })
  model.on(['selected', 'expanded', 'empty', 'frozen', 'limit'], draw)
  model.on(['columns', 'selectable', 'expandable'], rebuild)
  life.every(tick)
  wrap.onscroll = () => { if (windowed()) framed ||= requestAnimationFrame(() => { framed = 0; draw() }) }
  const watch = new ResizeObserver(() => { if (wrap.clientWidth !== width) { width = wrap.clientWidth; fit() } })
  watch.observe(wrap)
  life.end(() => watch.disconnect())
  life.given('contents', filled)
  return box
}
