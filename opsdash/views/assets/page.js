// Puts the page together: header, strip, tabs, cards; keeps state and address; hands messages to and fro.
export function render({model}) {
  const root = el('div', {class: model.whole ? 'ops' : 'ops embedded'}),
    theme = theming(model, root)
  const search = new URLSearchParams(model.whole ? location.search : '')
  const view = {
    tab: TABS.some(([key]) => key === search.get('tab')) ? search.get('tab') : 'overview',
    queue: search.get('queue') || '',
    find: search.get('workers') || '',
    open: search.getAll('worker'),
    span: search.get('span') || '15m',
    charted: search.get('chart') ?? null,
    log: Object.fromEntries(
      ['text', 'user', 'operation', 'status', 'since', 'broker']
        .map((name) => [name, search.get(name)])
        .filter(([, value]) => value)
    ),
    compared: false
  }
  if (view.charted === null) view.charted = view.queue
  let state = merge(Object.create(null), JSON.parse(model.state)),
    seq = model.seq,
    skew = 0,
    silence = [],
    opener = null,
    fallback = null
  const constants = JSON.parse(model.constants)
  const old = () => !!state.status.stale || silence.length > 0 || signal.lost
  const send = (msg, from) => {
    if (from) opener = from
    model.send_msg(msg)
  }
  const half = model.whole ? recall('half', sessionStorage) : null

  const page = {
    view,
    constants,
    send,
    // Without new figures the clocks stop: ages and times left stay as they were read.
    now: () => (old() && state.status.read_at) || Date.now() / 1000 + skew,
    ask(name, args, from, other = null, half = {}) {
      opener = from
      fallback = other
      send({type: 'ask', name, args, half})
    },
    choose(name) {
      view.queue = view.charted = name
      page.address()
      page.redraw()
      if (view.tab === 'queues') page.chart()
    },
    chart() {
      page.address()
      page.redraw()
      send({type: 'chart', queue: view.charted || '', span: view.span, dark: root.dataset.theme === 'dark'})
    },
    turn() {
      theme.turn()
      theme.dress()
      head.paint()
      if (view.tab === 'queues') page.chart()
    },
    help(from) {
      const off = el('input', {type: 'checkbox'})
      off.checked = recall('keys') !== false
      off.onchange = () => remember('keys', off.checked)
      dialog.tell(
        'Keyboard shortcuts',
        {opener: from},
        el(
          'dl',
          {class: 'keys'},
          ...KEYS.flatMap(([key, what]) => [el('dt', {}, el('kbd', {text: key})), el('dd', {text: what})])
        ),
        el('label', {class: 'flag'}, off, el('span', {text: 'Single keys work as shortcuts'}))
      )
    },
    address() {
      if (!model.whole) return
      const kept = new URLSearchParams(),
        given = {
          tab: view.tab === 'overview' ? '' : view.tab,
          queue: view.queue,
          workers: view.find,
          span: view.span === '15m' ? '' : view.span,
          chart: view.charted && view.charted !== view.queue ? view.charted : '',
          ...view.log
        }
      for (const [name, value] of Object.entries(given)) if (value) kept.set(name, value)
      for (const worker of view.open) kept.append('worker', worker)
      history.replaceState(null, '', `${location.pathname}${kept.size ? `?${kept}` : ''}`)
    },
    redraw() {
      for (const card of shown()) card.update(state, view)
    }
  }
  const head = masthead(page, root),
    strip = statusStrip(model.whole),
    control = workerControl(page),
    chart = charts(page, model.get_child('chart')),
    log = operationsLog(page),
    workers = workerHealth(page),
    tenants = tenantConfiguration(page)
  const cards = [
    approvals(page),
    queueOperations(page),
    tenants,
    chart,
    clearedTasks(page),
    workers,
    log,
    otherOperations(page),
    noTenants()
  ]
  const signal = signals(model, send, () => strip.update(state, silence, signal.lost)),
    dialog = dialogs(root, send, model.whole)
  const shown = () => cards.filter((card) => card.tabs.includes(view.tab))

  const board = el('div', {class: 'deck', id: unique('panel'), role: 'tabpanel'}, ...cards.map((card) => card.node))
  const tabs = TABS.map(([key, text]) =>
    el('button', {
      type: 'button',
      role: 'tab',
      id: unique('tab'),
      'aria-controls': board.id,
      'data-tab': key,
      text,
      onclick: () => go(key)
    })
  )
  const bar = el('div', {class: 'tabs', role: 'tablist', 'aria-label': 'Views'}, ...tabs)
  bar.onkeydown = (event) => {
    const there = tabs.filter((b) => !b.hidden),
      at = there.findIndex((b) => b.dataset.tab === view.tab),
      to = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: there.length - 1}[event.key]
    if (to === undefined) return
    event.preventDefault()
    const chosen = there[(to + there.length) % there.length]
    go(chosen.dataset.tab)
    chosen.focus()
  }
  const go = (tab) => {
    const before = view.tab
    view.tab = tab
    board.dataset.tab = tab
    for (const b of tabs) {
      const on = b.dataset.tab === tab
      b.setAttribute('aria-selected', String(on))
      b.tabIndex = on ? 0 : -1
      if (on) {
        board.setAttribute('aria-labelledby', b.id)
        requestAnimationFrame(() => {
          bar.scrollLeft = b.offsetLeft - bar.offsetLeft - 48
        })
      }
    }
    for (const card of cards) card.node.hidden = !card.tabs.includes(tab)
    page.redraw()
    page.address()
    // On a phone the cards begin below the first screen: a tab that was chosen must be seen to do something.
    if (model.whole && tab !== before && board.getBoundingClientRect().top > innerHeight * 0.7) bar.scrollIntoView()
    if (!workers.tabs.includes(tab)) workers.leave()
    if (tab === 'operations') log.open(view)
    if (tab === 'queues') page.chart()
    else if (before === 'queues') {
      chart.waiting()
      send({type: 'unchart'})
    }
  }
  root.append(
    head.node,
    el(
      'main',
      {},
      el('h1', {text: 'System Operations'}),
      el(
        'div',
        {class: 'banner', role: 'note'},
        icon('warn'),
        el('span', {text: 'Caution: Manual operations can affect system behavior'})
      ),
      strip.node,
      control.node,
      bar,
      board
    ),
    ...signal.nodes
  )

  const update = () => {
    skew = state.now - Date.now() / 1000
    head.update(state)
    strip.update(state, silence, signal.lost)
    control.update(state, view)
    // An open tab stays open, also when it has nothing to show.
    for (const b of tabs) b.hidden = b.dataset.tab === 'tenants' && !state.tenants.shown && view.tab !== 'tenants'
    page.redraw()
  }
  const HEARD = {
    patch(msg) {
      if (msg.seq !== seq + 1) return msg.seq > seq && send({type: 'all'})
      seq = msg.seq
      silence = []
      state = merge(state, JSON.parse(msg.patch))
      update()
    },
    all(msg) {
      seq = msg.seq
      silence = []
      state = merge(Object.create(null), JSON.parse(msg.state))
      update()
    },
    beat(msg) {
      silence = msg.silence ? [msg.silence] : []
      strip.update(state, silence, signal.lost)
    },
    dialog(msg) {
      dialog.ask(msg, opener, fallback)
    },
    review: (msg) => dialog.review(msg),
    armed: (msg) => dialog.armed(msg),
    close: (msg) => dialog.close(msg.id),
    say: (msg) => signal.say(msg),
    work: (msg) => signal.work(msg),
    ready(msg) {
      ;({refresh: workers, compare: tenants, export: log})[msg.what]?.ready()
    },
    log: (msg) => log.page(msg),
    running: (msg) => workers.running(msg),
    charted: (msg) => chart.drawn(msg),
    compared(msg) {
      view.compared = true
      tenants.compared(msg)
      page.redraw()
    },
    peek(msg) {
      dialog.tell(`First and last tasks of ${msg.queue}`, {opener, wide: true}, ...peeked(msg, page))
    },
    piece(msg) {
      pieces.push(msg.text)
      send({type: 'taken'})
    },
    file(msg) {
      save(pieces, msg.name)
      pieces = []
    }
  }
  let pieces = [] // "Export Logs": the CSV comes in pieces over the session's own websocket; no URL of it exists
  model.on('msg:custom', (msg) => {
    signal.alive()
    HEARD[msg.type]?.(msg)
  })

  const clockwork = setInterval(() => {
    for (const card of shown()) card.tick?.(page.now())
    if (!model.whole && theme.dress()) head.paint()
  }, 1000)
  const pressed = (event) => {
    const target = event.composedPath()[0]
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      recall('keys') === false ||
      dialog.open ||
      (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName || '') && target.type !== 'radio')
    )
      return
    const act =
      {
        '?': () => page.help(target.focus ? target : null),
        p: () => (control.pause.disabled ? control.resume : control.pause).click(),
        r: () => send({type: 'refresh'}),
        d: () => page.turn(),
        '/': () => {
          if (!['workers', 'operations'].includes(view.tab)) go('workers')
          shown()[0].node.querySelector('input[type=search]')?.focus()
        }
      }[event.key] ||
      (/^[1-5]$/.test(event.key)
        ? () => {
            const chosen = tabs[event.key - 1]
            if (chosen.hidden) return
            go(chosen.dataset.tab)
            chosen.focus()
          }
        : null)
    if (act) {
      event.preventDefault()
      act()
    }
  }
  if (!model.whole) model.on('after_render', () => suppressShortcuts(root))
  if (model.whole) document.addEventListener('keydown', pressed)
  model.on('remove', () => {
    signal.end()
    clearInterval(clockwork)
    document.removeEventListener('keydown', pressed)
  })

  theme.dress()
  head.paint()
  update()
  go(view.tab)
  send({type: 'hello', seq})
  if (half) send({type: 'ask', name: half.name, args: half.args, half: half.values})
  return root
}
