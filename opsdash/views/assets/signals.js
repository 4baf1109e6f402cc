// Result messages, gone after `shown_ms`; and the watchdog: a page whose server has gone would show frozen numbers for
// ever, so it says so, and loads anew once something answers again.
export function render({model}) {
  const root = document.createElement('div'), bar = document.createElement('div'), toasts = document.createElement('div')
  bar.className = 'bar'
  bar.hidden = true
  bar.setAttribute('role', 'status')
  toasts.className = 'toasts'
  root.append(bar, toasts)
  let last = performance.now(), asking = false
  model.on('beat', () => { last = performance.now(); bar.hidden = true })
  const id = setInterval(async () => {
    const silent = performance.now() - last
    if (silent < model.limit_ms) return
    bar.textContent = `Not live: no word from the server for ${Math.round(silent / 1000)} s. The figures below may be out of date.`
    bar.hidden = false
    if (asking) return
    asking = true
    // healthz, not the page: each GET of the page builds a session. Where it is not served, a 404 is an answer too.
    try {
      const answer = await fetch('healthz', {cache: 'no-store'})
      await new Promise((done) => setTimeout(done, 2000)) // a server that was only busy sends its word first
      if (answer.status < 500 && performance.now() - last > model.limit_ms) location.reload()
    } catch { /* still away */ }
    asking = false
  }, 1000)
  model.on('remove', () => clearInterval(id))
  const button = (text, act) => { const b = document.createElement('button'); b.type = 'button'; b.className = 'plain small'; b.textContent = text; b.onclick = act; return b }
  const work = document.createElement('div'), words = document.createElement('span'), meter = document.createElement('progress')
  work.className = 'toast work'
  work.setAttribute('role', 'status')
  work.hidden = true
  meter.setAttribute('aria-label', 'Progress')
  const stop = button('Cancel', () => { stop.disabled = true; model.send_msg({type: 'cancel'}) })
  work.append(words, meter, stop)
  toasts.append(work)
  model.on('msg:custom', (msg) => {
    if (msg.type === 'progress') {
      if (work.hidden) stop.disabled = false
      work.hidden = !msg.text
      words.textContent = msg.text
      if (msg.of) { meter.max = msg.of; meter.value = msg.at } else meter.removeAttribute('value')
      return
    }
    const toast = document.createElement('div'), dot = document.createElement('span'), text = document.createElement('span')
    toast.className = 'toast'
    toast.dataset.tone = msg.tone
    toast.setAttribute('role', 'alert')
    dot.className = 'dot'
    text.textContent = msg.text
    toast.append(dot, text)
    if (msg.undo) toast.append(button('Undo', () => { toast.remove(); model.send_msg({type: 'undo', undo: msg.undo}) }))
    toasts.append(toast)
    setTimeout(() => toast.remove(), model.shown_ms)
  })
  return root
}
