// The state in a word with its causes and acts, and below it figures with the line of their last minutes.
const {begin, clock, dot, duration, el, focused, here, place, put, sparkline, stops} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

export function render({model, view}) {
  const life = begin(model, view), title = el('strong'), story = el('p', {class: 'story'}), why = el('p', {class: 'why'})
  const chips = el('ul', {class: 'chips', 'aria-label': 'Causes'}), count = el('span', {class: 'count'})
  const verdict = el('span', {class: 'verdict'}, dot(), el('span'))
  const meter = el('progress', {'aria-label': 'Workers that have stopped'}), cells = el('div', {class: 'cells'})
  const words = el('div', {class: 'words'}, title, chips, why, story, el('div', {class: 'line'}, count, verdict, meter))
  const actions = el('div', {class: 'actions', role: 'group', 'aria-label': 'Processing'})
  const control = model.titled && el('h2', {class: 'sr', text: 'Worker Control'})
  const state = el('div', {class: 'state'}, el('span', {class: 'dot'}), words, control, actions)
  const notices = el('div', {role: 'status'}), heard = el('p', {class: 'sr', 'aria-live': 'polite'}), page = document.title
  const strip = el('div', {class: 'box strip'}, state, cells)
  let before = null, skew = 0, last = null
  const say = () => {
    strip.dataset.word = model.word.toLowerCase().replace(' ', '-')
    state.dataset.tone = model.tone
    strip.classList.toggle('stale', model.stale)
    put(title, `Processing Status: ${model.word}`)
    put(story, model.story)
    put(why, model.reason && `“${model.reason}”`)
    ;[why.title, story.title] = [model.reason, model.story]
    const chip = ([tone, text, help]) => el('li', {title: help, 'data-tone': tone}, dot(tone), el('span', {text}))
    chips.replaceChildren(...model.chips.map(chip))
    const [tone, text] = model.verdict
    verdict.hidden = !text
    verdict.firstChild.dataset.tone = tone
    put(verdict.lastChild, text || '')
    Object.assign(meter, {hidden: !model.of || model.stale, max: model.of || 1, value: model.stopped})
    notices.replaceChildren(...model.notices.map((one) => el('p', {class: 'notice'}, dot('bad'), el('span', {text: one}))))
    tick()
    if (before === model.word) return
    if (model.titled) document.title = model.word === 'RUNNING' ? page : `${model.word} · ${page}`
    before = model.word
  }
  const tick = () => {
    const still = model.stale || view.el.matches('[data-aged]')
    const left = model.until - (Date.now() / 1000 + skew), at = `at ${clock(model.until).slice(0, 5)} UTC`
    put(count, !model.until ? '' : still ? `Resumes ${at}` : left > 0 ? `Resumes in ${duration(left)}, ${at}` : 'Resumes now')
    count.title = model.until ? here(model.until) : ''
    // A button that is disabled by now has lost the focus: the next one takes it.
    if (last?.disabled && !focused()) stops(actions)[0]?.focus()
  }
  const build = () => {
    const row = (key, label) => el('div', {class: 'cell', 'data-figure': key}, el('div', {class: 'label', text: label}),
      el('div', {class: 'figure'}, el('span', {class: 'value'}), el('small')), el('div', {class: 'trend'}))
    cells.replaceChildren(...Object.entries(model.labels).map(([key, label]) => row(key, label)))
  }
  const each = (text, show) => {
    const given = new Map(Object.entries(JSON.parse(text)))
    for (const cell of cells.children) show(cell.children, given.get(cell.dataset.figure), cell)
  }
  const figures = () => each(model.figures, ([, {children: [value, unit]}], [text = '–', small = '', tone = ''] = [], cell) => {
    put(value, text)
    put(unit, small)
    cell.dataset.tone = tone
  })
  const sparks = () => each(model.sparks, ([,, trend], line) => place(trend, [line && sparkline(line)]))
  actions.addEventListener('focusin', (event) => { last = event.composedPath()[0] })
  model.on('heard', () => put(heard, model.heard))
  life.follow('now', () => { skew = model.now ? model.now - Date.now() / 1000 : 0 })
  life.follow(['word', 'tone', 'story', 'reason', 'chips', 'verdict', 'stale', 'of', 'stopped', 'notices', 'until'], say)
  life.follow('labels', build)
  life.follow(['labels', 'figures'], figures)
  life.follow(['labels', 'sparks'], sparks)
  life.children('actions', actions)
  life.every(tick)
  return el('div', {}, notices, strip, heard)
}
