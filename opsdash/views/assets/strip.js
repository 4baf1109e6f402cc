// At a glance: the state in words, the figures with their last 15 minutes, and a pause nobody can overlook.
const FIGURES = [
  ['waiting', 'Pending Tasks', number],
  ['rate', 'Throughput', rate],
  ['failed', 'Failures, 15 min', number],
  ['online', 'Workers online', number],
  ['busy', 'Busy slots', number],
  ['redis_ms', 'Redis round trip', (v) => number(v, 1)]
]

const statusStrip = (whole) => {
  const title = el('strong'),
    story = el('p'),
    why = el('p', {class: 'why'}),
    drained = el('p', {class: 'drain'})
  const meter = el('progress', {'aria-label': 'Workers that have stopped', max: 1})
  const state = el(
    'div',
    {class: 'state'},
    el('span', {class: 'dot big'}),
    el('div', {}, title, why, story, drained, meter)
  )
  const cells = new Map(
    FIGURES.map(([key, label]) => {
      const value = el('span', {class: 'value'}),
        unit = el('small'),
        picture = el('div', {class: 'trend'})
      return [
        key,
        {
          value,
          unit,
          picture,
          node: el(
            'div',
            {class: 'cell', 'data-figure': key},
            el('div', {class: 'label', text: label, title: label}),
            el('div', {class: 'figure'}, value, unit),
            picture
          )
        }
      ]
    })
  )
  const notices = el('div', {class: 'notices', role: 'status'}),
    heard = el('p', {class: 'sr', 'aria-live': 'polite'})
  const strip = el(
    'div',
    {class: 'card strip'},
    state,
    el('div', {class: 'cells'}, ...[...cells.values()].map((c) => c.node))
  )
  let before = null
  return {
    node: el('div', {}, notices, strip, heard),
    update({status, figures, sparks}, extra, lost) {
      strip.dataset.word = status.word.toLowerCase()
      state.dataset.tone = status.tone
      put(title, `Processing Status: ${status.word}`)
      put(story, status.story)
      put(why, status.why ? `“${status.why}”` : '')
      why.hidden = !status.why
      // A verdict rests on figures: while none come, what workers do now is not known.
      const silent = extra.length > 0 || lost
      put(drained, !status.drain ? '' : silent ? 'Not known now: no new figures come.' : status.drain)
      drained.hidden = !status.drain
      meter.hidden = !status.of || silent || !!status.stale
      if (status.of) {
        meter.max = status.of
        meter.value = status.stopped || 0
      }
      const stale = !!status.stale || silent
      strip.classList.toggle('stale', stale)
      strip.closest('main')?.classList.toggle('aged', stale) // and the tables below
      const said = [...status.notices, ...extra]
      if (JSON.stringify(said) !== notices.__said) {
        notices.__said = JSON.stringify(said)
        notices.replaceChildren(...said.map((text) => el('div', {class: 'notice'}, dot('bad'), el('span', {text}))))
      }
      for (const [key, , format] of FIGURES) {
        const {value, unit, picture} = cells.get(key),
          [given, words] = figures[key] || []
        put(value, given == null ? '–' : format(given))
        value.closest('.cell').classList.toggle('zero', given === 0)
        put(unit, words || '')
        const mark = JSON.stringify(sparks[key] || [])
        if (picture.__mark !== mark) {
          picture.__mark = mark
          picture.replaceChildren(sparkline(sparks[key] || []))
        }
      }
      // Said once per change, in other words than the headline: a screen reader must not hear every figure.
      if (before !== null && before !== status.word)
        heard.textContent =
          {PAUSED: 'Workers are held now.', RUNNING: 'Workers take tasks again.'}[status.word] ||
          'The state is not known.'
      before = status.word
      if (whole) document.title = status.word === 'PAUSED' ? 'PAUSED · System Operations' : 'System Operations'
    }
  }
}
