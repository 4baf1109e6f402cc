// The top of the page: title, caution, what is stale, and the status strip. Text goes in by textContent only.
export function render({model}) {
  const make = (tag, name, text) => { const e = document.createElement(tag); if (name) e.className = name; if (text != null) e.textContent = text; return e }
  const root = make('div'), notices = make('div'), strip = make('div', 'card strip')
  const banner = make('div', 'banner')
  banner.setAttribute('role', 'note')
  const icon = new DOMParser().parseFromString('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" aria-hidden="true"><path d="M8 2 14.5 13.5h-13zM8 6.5v3.4M8 11.7v.1"/></svg>', 'image/svg+xml').documentElement
  banner.append(icon, make('span', '', model.caution))
  notices.setAttribute('role', 'status')
  const state = make('div', 'state'), words = make('div'), title = make('strong'), story = make('p'), why = make('p', 'why')
  words.append(title, why, story)
  state.append(make('span', 'dot'), words)
  strip.append(state)
  const cells = []
  root.append(make('h1', '', model.heading), banner, notices, strip)
  const set = (node, text) => { if (node.textContent !== text) node.textContent = text }
  const draw = () => {
    state.dataset.tone = model.tone
    set(title, model.status)
    set(why, model.why)
    why.hidden = !model.why
    set(story, model.story)
    strip.classList.toggle('stale', model.stale)
    const shown = [...notices.children].map((n) => n.textContent)
    if (JSON.stringify(shown) !== JSON.stringify(model.notices)) notices.replaceChildren(...model.notices.map((text) => {
      const notice = make('div', 'notice'), dot = make('span', 'dot')
      dot.dataset.tone = 'bad'
      notice.append(dot, make('span', '', text))
      return notice
    }))
    model.figures.forEach(([label, value, unit], i) => {
      if (!cells[i]) {
        const cell = make('div', 'cell'), name = make('div', 'label'), number = make('div', 'value')
        number.append(document.createTextNode(''), make('small'))
        cell.append(name, number)
        strip.append(cell)
        cells[i] = {name, number}
      }
      set(cells[i].name, label)
      cells[i].name.title = label
      if (cells[i].number.firstChild.nodeValue !== value) cells[i].number.firstChild.nodeValue = value
      set(cells[i].number.lastChild, unit)
    })
  }
  draw()
  for (const name of ['status', 'tone', 'why', 'story', 'figures', 'notices', 'stale']) model.on(name, draw)
  return root
}
