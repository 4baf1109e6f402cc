// A modal dialog. What it asks, shows and allows comes from the server; nothing is judged here.
const {begin, el, focused, number, place, put, recall, remember, stops, unique, wayBack} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

const tile = ({label, value, unit, exactness}) => {
  const text = (exactness === 'estimated' ? '≈ ' : '') + (typeof value === 'number' ? number(value, value % 1 ? 1 : 0) : value)
  const what = el('span', {text: exactness === 'old' ? `${label}, as last reported` : label})
  return el('div', {class: 'tile'}, el('strong', {}, text, unit && el('small', {text: ` ${unit}`})), what)
}
const share = (count, total, exact) => {
  const part = (100 * count) / total, sign = exact === false ? '≈ ' : '' // of what was estimated no share is all
  return `${sign}${number(count)} · ${sign && part > 99 ? '> 99' : sign + (part && part < 1 ? '< 1' : number(part))} %`
}

export function render({model, view}) {
  const life = begin(model, view), title = el('h2', {id: unique('dialog')}), facts = el('dl', {class: 'about'})
  const warning = el('p', {class: 'warning'}), review = el('div', {class: 'review'}), fields = el('div', {class: 'fields'})
  const problem = el('p', {class: 'problem', role: 'alert'}), actions = el('div', {class: 'actions'})
  const parts = [title, facts, warning, review, fields, problem, actions]
  const node = el('dialog', {'aria-modal': 'true', 'aria-labelledby': title.id}, ...parts)
  let back = null, began = null
  const say = () => {
    node.classList.toggle('danger', model.danger)
    node.classList.toggle('side', model.side)
    for (const [part, text] of [[title, model.title], [warning, model.warning], [problem, model.problem]]) put(part, text)
    facts.replaceChildren(...model.about.map(([text, value]) => el('div', {}, el('dt', {text}), el('dd', {text: value}))))
    review.classList.toggle('stale', model.stale)
    review.setAttribute('aria-busy', String(model.stale))
    const kinds = model.breakdown, total = kinds.reduce((sum, [, count]) => sum + count, 0)
    const hue = (name, i) => el('span', {class: name, 'data-hue': Math.min(i, 5)})
    const bar = kinds.map(([, count], i) => { const part = hue('part', i); part.style.flexGrow = count; return part })
    const said = (name, text) => el('span', {class: name, text})
    const legend = kinds.map(([kind, count, exact], i) =>
      el('li', {}, hue('swatch', i), said('kind', kind), said('share', share(count, total, exact))))
    const tiles = model.figures.map(tile)
    const lines = model.lines.map(([kind, text]) => el('li', {'data-kind': kind, text}))
    const lists = [['div', 'tiles', tiles], ['div', 'bar', bar], ['ul', 'legend', legend], ['ul', 'lines', lines]]
    review.replaceChildren(...lists.filter(([,, all]) => all.length).map(([tag, name, all]) => el(tag, {class: name}, ...all)))
  }
  // The first field that is still to be filled in; fields come a moment after the dialog. Who is somewhere already stays.
  const focus = (tries = 50) => {
    if (!node.open || (node.contains(began) && began !== node)) return
    const inputs = stops(fields).filter((n) => n.matches('input, textarea, select'))
    const first = inputs.find((n) => /^(text|search|number|password)$/.test(n.type) && !n.value) || inputs[0]
    if (first) first.focus()
    else if (tries && model.objects.length) setTimeout(focus, 20, tries - 1)
    else (stops(node.querySelector('.wrap') || actions)[0] || node).focus()
  }
  const fill = () => {
    const had = fields.childNodes.length
    place(fields, model.get_child('objects'))
    place(actions, model.get_child('actions'))
    if (!had) focus()
  }
  const show = () => {
    if (model.open === node.open) return
    if (!model.open) return node.close()
    if (!node.isConnected) return
    back = wayBack()
    node.showModal()
    node.scrollTop = 0
    focus()
  }
  // Where the browser has put the focus back already, or it has gone on, it stays.
  node.addEventListener('close', () => { if (model.open) model.open = false; back = !focused() && back?.() })
  // A click beside it, and not a text that was marked beyond its edge.
  const beside = (event) => {
    const {left, right, top, bottom} = node.getBoundingClientRect(), {clientX: x, clientY: y} = event
    return event.target === node && (x < left || x > right || y < top || y > bottom)
  }
  node.addEventListener('pointerdown', (event) => { began = beside(event) ? node : null })
  node.addEventListener('click', (event) => { if (began === node && beside(event)) node.close() })
  node.addEventListener('keydown', (event) => {
    event.stopPropagation() // keys of the page behind it
    if (event.key !== 'Tab') return
    const all = stops(node), at = all.indexOf(focused()), to = at + (event.shiftKey ? -1 : 1)
    if (all.length && (at < 0 || !all[to])) {
      event.preventDefault()
      all.at(event.shiftKey ? -1 : 0).focus()
    }
  })
  model.on(['title', 'warning', 'danger', 'figures', 'breakdown', 'lines', 'about', 'problem', 'stale', 'side'], say)
  // A half-filled dialog outlives a reload: a server that was restarted, a key pressed by mistake.
  const half = model.keeps && recall('half', 'sessionStorage')
  const keep = () => remember('half', model.kept.name ? model.kept : null, 'sessionStorage')
  if (model.keeps) model.on('kept', keep)
  model.on(['objects', 'actions'], fill)
  model.on(['open', 'after_render'], show)
  life.end(() => node.close())
  say()
  fill()
  if (half) model.found = half
  return node
}
