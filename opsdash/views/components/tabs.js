const {begin, el, place, put, unique} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

export function render({model, view}) {
  const life = begin(model, view)
  const bar = el('div', {class: 'bar', role: 'tablist', 'aria-label': model.label}), board = el('div', {class: 'board'})
  const tabs = model.titles.map((text, at) => {
    const id = unique('tab'), props = {type: 'button', role: 'tab', id, 'aria-controls': `${id}-panel`, onclick: () => go(at)}
    return el('button', props, el('span', {text}), el('span', {class: 'badge'}))
  })
  const panels = tabs.map(({id}) => el('div', {role: 'tabpanel', id: `${id}-panel`, 'aria-labelledby': id}))
  const mark = () => {
    tabs.forEach((tab, at) => {
      const on = at === model.active, title = model.titles[at], badge = model.badges[title] || ''
      Object.assign(tab, {ariaSelected: String(on), tabIndex: on ? 0 : -1, hidden: model.hidden.includes(title) && !on})
      put(tab.lastChild, badge)
      panels[at].hidden = !on
      if (on) requestAnimationFrame(() => { bar.scrollLeft = tab.offsetLeft - bar.offsetLeft - 48 })
    })
  }
  const go = (at) => {
    if (at === model.active) return
    model.active = at
    // On a phone what a tab shows begins below the first screen: one that was chosen must be seen to do something.
    if (board.getBoundingClientRect().top > innerHeight * 0.7) bar.scrollIntoView()
  }
  bar.onkeydown = (event) => {
    const there = tabs.filter((tab) => !tab.hidden), at = there.indexOf(tabs[model.active])
    const to = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: there.length - 1}[event.key]
    if (to === undefined) return
    event.preventDefault()
    const chosen = there[(to + there.length) % there.length]
    go(tabs.indexOf(chosen))
    chosen.focus()
  }
  bar.append(...tabs)
  board.append(...panels)
  life.follow(['active', 'badges', 'hidden'], mark)
  // A tab that is made needs no Python to be looked at.
  life.given('contents', (nodes) => model.made.forEach((at, i) => { tabs[at].dataset.own = true; place(panels[at], [nodes[i]]) }))
  return el('div', {}, bar, board)
}
