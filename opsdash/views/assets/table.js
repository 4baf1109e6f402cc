// A keyed table: only changed cells touch the DOM, so scroll, selection, focus, sort order and open rows stay.
// A column is {field, title, kind, more, rank, wide, pin, stacked, whole, least}; `least` names the field that says that the
// value is at least so much; `more` columns show where the table is at home,
// not in an overview, `wide` ones not on a phone; a `pin` one stays in sight while the others scroll sideways, a `stacked`
// one has its remark in separate lines, and a `whole` one is never cut.
const CELLS = {
  text: (value) => (value == null ? '–' : String(value)),
  number: (value) => (value == null ? '–' : number(value)),
  rate: (value) => (value == null ? '–' : rate(value)),
  decimal: (value) => (value == null ? '–' : number(value, 2)),
  bytes: (value) => (value == null ? '–' : bytes(value)),
  since: (value, now) => (value == null ? '–' : duration(now - value)),
  left: (value, now) => (value == null ? '–' : value > now ? duration(value - now).replace(/ \d+s$/, '') : 'over'),
  ago: (value, now) => (value == null ? 'just now' : `${duration(now - value)} ago`),
  time: (value) => (value == null ? '–' : utc(value, {date: true}))
}
const RIGHT = new Set(['number', 'rate', 'decimal', 'bytes', 'since', 'left', 'ago'])
const MOVING = new Set(['since', 'left', 'ago'])

// `details` makes what a row opens to, as {node, update(row, now), tick(now)}; `opened` holds the keys of rows that are
// open, drawn now or not, and `folded` is called when that changes.
const keyedTable = ({label, columns, details, opened = new Set(), folded, empty, act, select}) => {
  const table = el('table'),
    caption = table.createCaption(),
    head = table.createTHead().insertRow(),
    body = table.createTBody()
  const none = el('p', {class: 'none', hidden: true}),
    group = unique('choice')
  const wrap = el('div', {class: 'wrap', tabindex: 0, role: 'group', 'aria-label': `${label}, table`}, table, none)
  caption.className = 'sr'
  caption.textContent = label
  const live = new Map(),
    first = (select ? 1 : 0) + (details ? 1 : 0)
  let sort = null,
    rows = [],
    now = 0,
    chosen = null

  const value = (row, column) => {
    const v = row[column.rank || column.field]
    return Array.isArray(v) ? v[1] : v
  }
  const ordered = () => {
    const sorted = [...rows]
    if (!sort) return sorted
    const column = columns.find((c) => c.field === sort.field)
    return sorted.sort((a, b) => {
      const x = value(a, column),
        y = value(b, column)
      if (x == null || y == null) return (x == null) - (y == null)
      return (x > y ? 1 : x < y ? -1 : 0) * sort.way
    })
  }
  const paint = (td, column, row) => {
    const given = row[column.field],
      shown = CELLS[column.kind || 'text']
    const mark =
      shown && !Array.isArray(given)
        ? (row[column.least] ? '≥ ' : '') + shown(given, now)
        : JSON.stringify(given ?? null) + (column.kind === 'bar' ? row[column.of] : '')
    if (td.__mark === mark) return
    td.__mark = mark
    if (column.kind === 'state') {
      const [tone, word, remark] = given
      if (!td.firstChild) td.append(dot(), document.createTextNode(''), el('small'))
      td.childNodes[0].dataset.tone = tone
      td.childNodes[1].nodeValue = word
      put(td.childNodes[2], remark || '')
      td.title = remark || ''
    } else if (column.kind === 'bar') {
      if (!td.firstChild) td.append(el('span', {class: 'meter'}, el('span')), el('span', {class: 'mute'}))
      td.firstChild.firstChild.style.width = `${row[column.of] ? Math.min(100, (100 * given) / row[column.of]) : 0}%`
      put(
        td.lastChild,
        given == null ? '–' : row[column.of] ? `${number(given)} of ${number(row[column.of])}` : number(given)
      )
    } else if (column.kind === 'spark') td.replaceChildren(sparkline(given || [], {step: 75}))
    else if (column.kind === 'acts') {
      const had = td.querySelector(':focus')?.textContent
      td.replaceChildren(
        ...(given || []).map(([name, word, remark]) => {
          const made = button(word, () => act(td.parentNode.__row, name, made), {
            small: true,
            kind: name.startsWith('clear') || name.startsWith('delete') ? 'danger' : ''
          })
          made.setAttribute('aria-label', `${word} ${row.called || row.name || row.key}`)
          made.title = remark || ''
          return made
        })
      )
      if (had) ([...td.children].find((b) => b.textContent === had) || td.firstChild)?.focus()
    } else {
      td.textContent = mark
      td.title = column.kind === 'time' && given != null ? `${local(given)} here` : mark.length > 40 ? mark : ''
    }
  }
  const unfold = (tr, open) => {
    const opener = tr.querySelector('.x button')
    opener.setAttribute('aria-expanded', String(open))
    opener.setAttribute('aria-label', open ? 'Hide details' : 'Show details')
    tr.__detail?.remove()
    tr.__detail = tr.__view = null
    if (!open) return
    tr.__view = details(tr.__row)
    tr.__view.update(tr.__row, now)
    tr.__detail = el(
      'tr',
      {class: 'detail'},
      el('td', {colspan: columns.length + first, 'aria-label': 'Details'}, el('div', {class: 'inside'}, tr.__view.node))
    )
    tr.after(tr.__detail)
  }
  const fold = (tr) => {
    const open = !tr.__detail
    if (open) opened.add(tr.__row.key)
    else opened.delete(tr.__row.key)
    unfold(tr, open)
    folded?.()
  }
  const newRow = (row) => {
    const tr = el('tr')
    if (select) {
      const radio = el('input', {type: 'radio', name: group, onchange: () => select(tr.__row.key)})
      tr.append(el('td', {class: 'pick'}, radio))
    }
    if (details)
      tr.append(
        el(
          'td',
          {class: 'x'},
          el('button', {
            type: 'button',
            'aria-expanded': 'false',
            'aria-label': 'Show details',
            onclick: () => fold(tr)
          })
        )
      )
    for (const c of columns)
      tr.append(
        el('td', {
          'data-kind': c.kind || 'text',
          'data-more': c.more,
          'data-wide': c.wide,
          'data-pin': c.pin,
          'data-stacked': c.stacked,
          'data-whole': c.whole,
          'aria-label': c.kind === 'acts' ? 'Actions' : null // its buttons name their target: that is another cell's name
        })
      )
    if (select)
      tr.onclick = (event) => {
        if (!event.target.closest('button, input')) select(tr.__row.key)
      }
    return tr
  }
  const drawHead = () => {
    const hidden = (text) => el('th', {class: 'x', scope: 'col'}, el('span', {class: 'sr', text}))
    head.replaceChildren(
      ...(select ? [hidden('Choose')] : []),
      ...(details ? [hidden('Details')] : []),
      ...columns.map((c) => {
        const still = c.kind === 'acts' || c.kind === 'spark'
        const turn = () => {
          sort =
            sort && sort.field === c.field
              ? sort.way > 0
                ? {field: c.field, way: -1}
                : null
              : {field: c.field, way: 1}
          drawHead()
          head.cells[columns.indexOf(c) + first].querySelector('button').focus()
          redraw()
        }
        return el(
          'th',
          {
            scope: 'col',
            'data-kind': c.kind || 'text',
            'data-right': RIGHT.has(c.kind),
            'data-more': c.more,
            'data-wide': c.wide,
            'data-pin': c.pin,
            'aria-sort': sort && sort.field === c.field ? (sort.way > 0 ? 'ascending' : 'descending') : null
          },
          still
            ? el('span', {class: c.title ? '' : 'sr', text: c.title || 'Actions'})
            : el('button', {type: 'button', text: c.title, onclick: turn})
        )
      })
    )
  }
  const redraw = () => {
    const seen = new Set(),
      root = wrap.getRootNode(),
      held = body.contains(root.activeElement) ? root.activeElement : null
    let at = body.firstChild
    for (const row of ordered()) {
      seen.add(row.key)
      const known = live.get(row.key),
        tr = known || newRow(row)
      live.set(row.key, tr)
      tr.__row = row
      if (select) {
        const radio = tr.cells[0].firstChild,
          name = `${row.name} ${number(row.waiting)}`
        if (radio.getAttribute('aria-label') !== name) radio.setAttribute('aria-label', name)
        radio.checked = row.key === chosen
        tr.classList.toggle('chosen', radio.checked)
      }
      columns.forEach((c, i) => paint(tr.cells[i + first], c, row))
      tr.__view?.update(row, now)
      if (tr === at) {
        at = at.nextSibling
        if (at && at === tr.__detail) at = at.nextSibling
      } else {
        body.insertBefore(tr, at)
        if (tr.__detail) tr.after(tr.__detail)
      }
      if (!known && details && opened.has(row.key)) unfold(tr, true)
    }
    for (const [key, tr] of live)
      if (!seen.has(key)) {
        tr.__detail?.remove()
        tr.remove()
        live.delete(key)
      }
    // A row that moved has lost the focus that was in it; one that is gone leaves it with the table.
    if (held && !wrap.contains(root.activeElement)) (held.isConnected ? held : wrap).focus({preventScroll: true})
    table.hidden = rows.length === 0
    none.hidden = rows.length > 0 || !none.textContent
  }
  drawHead()
  return {
    node: wrap,
    update(given, {at, picked = null, nothing = empty || ''}) {
      rows = given
      now = at
      chosen = picked
      put(none, nothing)
      redraw()
    },
    // Ages and times left move by themselves; nothing is sent for them.
    tick(at) {
      now = at
      const moving = columns.map((c, i) => [c, i + first]).filter(([c]) => MOVING.has(c.kind))
      for (const tr of live.values()) {
        for (const [c, i] of moving) paint(tr.cells[i], c, tr.__row)
        tr.__view?.tick?.(at)
      }
    },
    open: () => [...live.values()].filter((tr) => tr.__detail).map((tr) => tr.__row.key)
  }
}
