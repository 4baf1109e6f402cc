// Result messages, gone after `shown_ms`; long work with Cancel; and the watchdog: a page whose server has gone would
// show frozen numbers for ever, so it says so, and reloads when a server answers again.
const signals = (model, send, lost = () => {}) => {
  const bar = el('div', {class: 'offline', role: 'status', hidden: true}),
    toasts = el('div', {class: 'toasts'})
  const words = el('span'),
    meter = el('progress', {'aria-label': 'Progress'})
  const stop = button(
    'Cancel',
    () => {
      stop.disabled = true
      send({type: 'stop'})
    },
    {small: true}
  )
  const work = el('div', {class: 'toast work', role: 'status', hidden: true}, words, meter, stop)
  toasts.append(work)
  let last = performance.now(),
    asking = false
  const watch = setInterval(async () => {
    const silent = performance.now() - last
    if (silent < model.limit_ms) return
    bar.textContent = `Not live: no word from the server for ${Math.round(silent / 1000)} s. The figures below may be out of date.`
    bar.hidden = false
    bar.parentElement?.classList.add('aged')
    lost()
    if (asking || !model.whole) return // a notebook must not be reloaded
    asking = true
    // healthz, not the page: each GET of the page builds a session. Where it is not served, a 404 is an answer too.
    try {
      const answer = await fetch('healthz', {cache: 'no-store'})
      await new Promise((done) => setTimeout(done, 2000)) // a server that was only busy sends its word first
      if (answer.status < 500 && performance.now() - last > model.limit_ms) location.reload()
    } catch {
      /* still away */
    }
    asking = false
  }, 1000)
  return {
    nodes: [bar, toasts],
    get lost() {
      return !bar.hidden
    },
    alive() {
      last = performance.now()
      if (bar.hidden) return
      bar.hidden = true
      bar.parentElement?.classList.remove('aged')
      lost()
    },
    end() {
      clearInterval(watch)
    },
    work({text, at, of}) {
      if (work.hidden) stop.disabled = false
      work.hidden = !text
      put(words, text)
      if (of) {
        meter.max = of
        meter.value = at
      } else meter.removeAttribute('value')
    },
    say({text, tone, undo}) {
      const toast = el('div', {class: 'toast', role: 'alert', 'data-tone': tone}, dot(tone), el('span', {text}))
      if (undo)
        toast.append(
          button(
            'Undo',
            () => {
              toast.remove()
              send({type: 'ask', ...undo})
            },
            {small: true}
          )
        )
      toasts.append(toast)
      setTimeout(() => toast.remove(), model.shown_ms)
    }
  }
}
