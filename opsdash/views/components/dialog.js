// A modal dialog. What it asks, shows and allows comes from the server; nothing is judged here.
const {begin, el, focused, outermost, pressedIn, put, recall, remember, stops, unique, wayBack} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

const tile = ([number, unit, text]) =>
  el('div', {class: 'tile'}, el('strong', {}, number, unit && el('small', {text: ` ${unit}`})), el('span', {text}))

export function render({model, view}) {
  const life = begin(model, view), title = el('h2', {id: unique('dialog')}), facts = el('dl', {class: 'about'})
  const warning = el('p', {class: 'warning'}), review = el('div', {class: 'review'}), fields = el('div', {class: 'fields'})
  const problem = el('p', {class: 'problem', role: 'alert'}), actions = el('div', {class: 'actions'})
  const parts = [title, facts, warning, review, fields, problem, actions]
  const node = el('dialog', {'aria-modal': 'true', 'aria-labelledby': title.id, closedby: 'any'}, ...parts)
  let back = null, ours = null
  const say = () => {
    node.classList.toggle('danger', model.danger)
    node.classList.toggle('side', model.side)
    for (const [part, text] of [[title, model.title], [warning, model.warning], [problem, model.problem]]) put(part, text)
    facts.replaceChildren(...model.about.map(([text, value]) => el('div', {}, el('dt', {text}), el('dd', {text: value}))))
    review.classList.toggle('stale', model.stale)
    review.setAttribute('aria-busy', String(model.stale))
    const hue = (name, i, grow) => el('span', {class: name, 'data-hue': Math.min(i, 5), style: `flex-grow: ${Number(grow)}`})
    const bar = model.breakdown.map(([, count], i) => hue('part', i, count)), tiles = model.figures.map(tile)
    const legend = model.breakdown.map(([kind,, share], i) =>
      el('li', {}, hue('swatch', i, 0), el('span', {class: 'kind', text: kind}), el('span', {class: 'share', text: share})))
    const lines = model.lines.map(([kind, text]) => el('li', {'data-kind': kind, text}))
    const lists = [['div', 'tiles', tiles], ['div', 'bar', bar], ['ul', 'legend', legend], ['ul', 'lines', lines]]
    review.replaceChildren(...lists.filter(([,, all]) => all.length).map(([tag, name, all]) => el(tag, {class: name}, ...all)))
  }
  // The first field that is still to be filled in; fields come a moment after the dialog.
  const focus = (tries = 50, from = focused()) => {
    const inputs = stops(fields).filter((n) => n.matches('input, textarea, select')), at = focused()
    if (!node.open || (at !== from && inputs.includes(at))) return // a user who has gone to a field meanwhile stays there
    const first = inputs.find((n) => /^(text|search|number|password)$/.test(n.type) && !n.value) || inputs[0]
    const making = [...fields.children].some((one) => !one.shadowRoot?.querySelector(':not(style, link)'))
    if (tries && (making || (!first && model.objects.length))) setTimeout(focus, 20, tries - 1, from)
    else if (first) (ours = first).focus()
    else (stops(node.querySelector('.wrap') || actions)[0] || node).focus()
  }
  const filled = () => {
    const at = focused() // not away from where one has begun to type
    if (!at || at === node || (at === ours && !at.value)) focus()
  }
  // Shown in two cells of a notebook it opens in one: where it was asked for, else in the first.
  const shown = ((document.opsdashDialogs ||= {})[model.identity] ||= new Set())
  const chosen = () => {
    const there = [...shown].filter((one) => one.isConnected)
    return (there.find((one) => outermost(one) === pressedIn()) || there[0]) === node
  }
  const show = () => {
    if (model.open === node.open) return
    if (!model.open) return node.close()
    if (!node.isConnected || !chosen()) return
    back = wayBack()
    node.showModal()
    node.scrollTop = 0
    focus()
  }
  // Where the browser has put the focus back already, or it has gone on, it stays.
  node.addEventListener('close', () => { if (model.open) model.open = false; back = !focused() && back?.() })
  node.addEventListener('keydown', (event) => {
    event.stopPropagation() // keys of the page behind it
    if (event.key !== 'Tab') return
    const all = stops(node), at = all.indexOf(focused()), to = at + (event.shiftKey ? -1 : 1)
    if (all.length && (at < 0 || !all[to])) {
      event.preventDefault()
      all.at(event.shiftKey ? -1 : 0).focus()
    }
  })
  // A half-filled dialog outlives a reload: a server that was restarted, a key pressed by mistake.
  const half = model.keeps && recall('half', 'sessionStorage')
  if (model.keeps) model.on('kept', () => remember('half', model.kept.name ? model.kept : null, 'sessionStorage'))
  model.on(['open', 'after_render'], show)
  shown.add(node)
  life.end(() => { shown.delete(node); node.close() })
  life.follow(['title', 'warning', 'danger', 'figures', 'breakdown', 'lines', 'about', 'problem', 'stale', 'side'], say)
  life.children('objects', fields, filled)
  life.children('actions', actions, filled)
  if (half) model.found = half
  return node
}
