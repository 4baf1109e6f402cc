// The state in a word with its causes and acts, and below it figures with the line of their last minutes.
const {begin, clock, dot, duration, el, focused, here, place, put, sparkline, stops} =
  await import(import.meta.url.replace(/\.\w+\/\w+\/_bundle_path\/\w+/, '.base/Component/_bundle_path/base'))

const figure = (value) => Number(value).toLocaleString('en-US', {maximumFractionDigits: Math.abs(value) < 100 ? 1 : 0})

export function render({model, view}) {
  const life = begin(model, view), title = el('strong'), story = el('p', {class: 'story'}), why = el('p', {class: 'why'})
  const chips = el('ul', {class: 'chips', 'aria-label': 'Causes'}), count = el('span', {class: 'count'})
  const verdict = el('span', {class: 'verdict'}, dot(), el('span'))
  const meter = el('progress', {'aria-label': 'Workers that have stopped'}), cells = el('div', {class: 'cells'})
  const words = el('div', {class: 'words'}, title, chips, why, story, el('div', {class: 'line'}, count, verdict, meter))
  const actions = el('div', {class: 'actions', role: 'group', 'aria-label': 'Processing'})
  const state = el('div', {class: 'state'}, el('span', {class: 'dot'}), words, actions)
  const notices = el('div', {role: 'status'}), heard = el('p', {class: 'sr', 'aria-live': 'polite'}), page = document.title
  const strip = el('div', {class: 'box strip'}, state, cells), live = new Map()
  let before = null, skew = 0, last = null
  const say = () => {
    strip.dataset.word = model.word.toLowerCase().replace(' ', '-')
    state.dataset.tone = model.tone
    strip.classList.toggle('stale', model.stale)
    put(title, `Processing Status: ${model.word}`)
    put(story, model.story)
    put(why, model.reason && `“${model.reason}”`)
    ;[why.title, story.title] = [model.reason, model.story]
    chips.hidden = !model.chips.length
    const chip = ([tone, text, help]) => el('li', {title: help, 'data-tone': tone}, dot(tone), el('span', {text}))
    chips.replaceChildren(...model.chips.map(chip))
    const [tone, text] = model.verdict
    verdict.hidden = !text
    verdict.firstChild.dataset.tone = tone
    put(verdict.lastChild, text || '')
    meter.hidden = !model.of || model.stale
    meter.max = model.of || 1
    meter.value = model.stopped
    notices.replaceChildren(...model.notices.map((one) => el('p', {class: 'notice'}, dot('bad'), el('span', {text: one}))))
    tick()
    if (before === model.word) return
    if (model.titled) document.title = model.word === 'RUNNING' ? page : `${model.word} · ${page}`
    before = model.word
  }
  const tick = () => {
    const still = model.stale || document.documentElement.dataset.notLive
    const left = model.until - (Date.now() / 1000 + skew), at = `at ${clock(model.until).slice(0, 5)} UTC`
    count.hidden = !model.until
    put(count, still ? `Resumes ${at}` : left > 0 ? `Resumes in ${duration(left)}, ${at}` : 'Resumes now')
    count.title = model.until ? here(model.until) : ''
    // A button that is disabled by now has lost the focus: the next one takes it.
    if (last?.disabled && !focused()) stops(actions)[0]?.focus()
  }
  const build = () => {
    live.clear()
    for (const [key, label] of Object.entries(model.labels)) {
      const value = el('span', {class: 'value'}), unit = el('small'), trend = el('div', {class: 'trend'})
      const parts = [el('div', {class: 'label', text: label}), el('div', {class: 'figure'}, value, unit), trend]
      live.set(key, {node: el('div', {class: 'cell', 'data-figure': key}, ...parts), value, unit, trend})
    }
    cells.replaceChildren(...[...live.values()].map(({node}) => node))
    figures()
    sparks()
  }
  const figures = () => {
    const given = JSON.parse(model.figures)
    for (const [key, {node, value, unit}] of live) {
      const [amount, small, tone] = (Object.hasOwn(given, key) && given[key]) || []
      put(value, amount == null ? '–' : typeof amount === 'number' ? figure(amount) : String(amount))
      put(unit, small || '')
      node.dataset.tone = tone || ''
    }
  }
  const sparks = () => {
    const given = JSON.parse(model.sparks)
    for (const [key, {trend}] of live) place(trend, [Object.hasOwn(given, key) && given[key] && sparkline(given[key])])
  }
  const set = () => { skew = model.now ? model.now - Date.now() / 1000 : 0 }
  const fill = () => place(actions, model.get_child('actions'))
  actions.addEventListener('focusin', (event) => { last = event.composedPath()[0] })
  model.on(['word', 'tone', 'story', 'reason', 'chips', 'verdict', 'stale', 'of', 'stopped', 'notices', 'until'], say)
  model.on('heard', () => put(heard, model.heard))
  model.on('now', set)
  model.on('labels', build)
  model.on('figures', figures)
  model.on('sparks', sparks)
  model.on('actions', fill)
  life.every(tick)
  set()
  say()
  build()
  fill()
  return el('div', {}, notices, strip, heard)
}
