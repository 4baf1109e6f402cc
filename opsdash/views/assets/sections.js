// The cards of the page. Each is {node, tabs, update(state, view), tick(now)}; the state says what a button may do.
const section = (title, tabs, {note, acts = [], body = [], place = ''}) => {
  const heading = el('h2', {id: unique('card'), text: title})
  return el(
    'section',
    {class: `card ${place}`, 'aria-labelledby': heading.id, 'data-tabs': tabs.join(' ')},
    el('header', {}, heading, note, el('div', {class: 'acts'}, ...acts)),
    ...body
  )
}
const ROWS = (table) => Object.entries(table || {}).map(([key, row]) => Object.assign(Object.create(null), row, {key}))
const byRank = (a, b) => a.rank - b.rank || (a.key < b.key ? -1 : 1)
const gate = (node, allowed) => {
  if (node.disabled === !!allowed) node.disabled = !allowed
}

const workerControl = (page) => {
  const pause = button('Pause Processing', () => page.ask('pause_processing', {}, pause, () => resume), {look: 'pause'})
  const resume = button('Resume Processing', () => page.ask('resume_processing', {}, resume, () => pause), {
    look: 'play'
  })
  const role = el('p', {class: 'role', hidden: true})
  const card = section('Worker Control', [], {
    note: el('p', {
      class: 'mute',
      text: 'A pause stops workers from picking up new tasks. Running tasks finish, nothing is lost.'
    }),
    acts: [pause, resume],
    body: [role],
    place: 'control'
  })
  return {
    node: card,
    pause,
    resume,
    update({controls}) {
      const held = card.getRootNode().activeElement
      gate(pause, controls.pause)
      gate(resume, controls.resume)
      if (held === pause && pause.disabled) resume.focus() // a disabled button can't hold the focus
      if (held === resume && resume.disabled) pause.focus()
      pause.classList.toggle('filled', !!controls.pause)
      resume.classList.toggle('filled', !!controls.resume)
      put(role, controls.note || '')
      role.hidden = !controls.note
    }
  }
}

const queueOperations = (page) => {
  const clear = button('Clear Queue', () => page.ask('clear_queue', {queue: page.view.queue}, clear), {
    look: 'clear',
    kind: 'danger'
  })
  const note = el('span', {class: 'note'})
  const table = keyedTable({
    label: 'Queues',
    select: (name) => page.choose(name),
    columns: [
      {field: 'name', title: 'Queue'},
      {field: 'state', title: 'State', kind: 'state', stacked: true},
      {field: 'waiting', title: 'Waiting', kind: 'number'},
      {field: 'oldest', title: 'Oldest', kind: 'since', least: 'oldest_at_least', wide: true},
      {field: 'rate', title: 'Started/s, 10 s', kind: 'rate', wide: true},
      {field: 'spark', title: 'Last 15 min', kind: 'spark', wide: true},
      {field: 'acts', title: '', kind: 'acts', pin: true}
    ],
    act: (row, name, opener) =>
      name === 'peek' ? page.send({type: 'peek', queue: row.name}, opener) : page.ask(name, {queue: row.name}, opener)
  })
  const card = section('Queue Operations', ['overview', 'queues'], {
    note,
    acts: [clear],
    body: [table.node],
    place: 'wide'
  })
  return {
    node: card,
    tabs: ['overview', 'queues'],
    update(state, view) {
      const rows = ROWS(state.queues).sort(byRank)
      if (!rows.some((row) => row.key === view.queue) && rows.length)
        view.queue = (rows.find((row) => row.key === 'celery') || rows[0]).key
      gate(clear, state.controls.clear && view.queue)
      put(note, view.queue ? `Chosen: ${view.queue}` : '')
      table.update(rows, {at: page.now(), picked: view.queue, nothing: 'No queue is known yet.'})
    },
    tick: table.tick
  }
}

const charts = (page, frame) => {
  const SPANS = [
    ['15m', '15 min'],
    ['1h', '1 hour'],
    ['24h', '24 hours']
  ]
  const place = el('div', {class: 'chart'}, frame),
    words = el('p', {class: 'none', text: 'Reading the history …'}),
    legend = el('ul', {class: 'key', 'aria-label': 'Legend', hidden: true})
  const choose = el('select', {
    'aria-label': 'Queue of the charts',
    onchange: () => {
      page.view.charted = choose.value
      page.chart()
    }
  })
  const spans = SPANS.map(([key, text]) =>
    el('button', {
      type: 'button',
      class: 'button small',
      'aria-pressed': 'false',
      'data-span': key,
      text,
      onclick: () => {
        page.view.span = key
        page.chart()
      }
    })
  )
  const card = section('Depth and throughput', ['queues'], {
    acts: [choose, el('div', {class: 'group', role: 'group', 'aria-label': 'Time span'}, ...spans)],
    body: [words, legend, place],
    place: 'full'
  })
  // What the marks are is said once for both figures, and outside of them.
  const sign = (kind, text, hue) => {
    const swatch = el('span', {class: `sign ${kind}`})
    if (hue) swatch.style.background = hue
    return el('li', {}, swatch, el('span', {class: 'name', text, title: text}))
  }
  let names = ''
  return {
    node: card,
    tabs: ['queues'],
    place,
    update(state, view) {
      const known = ROWS(state.queues)
        .sort(byRank)
        .map((row) => row.key)
      if (JSON.stringify(known) !== names) {
        names = JSON.stringify(known)
        choose.replaceChildren(
          el('option', {value: '', text: 'All queues'}),
          ...known.map((name) => el('option', {value: name, text: name}))
        )
      }
      if (known.length && view.charted && !known.includes(view.charted)) {
        view.charted = '' // a link's queue that is gone: all of them, as the figures show
        page.address()
      }
      if (choose.value !== (view.charted || '')) choose.value = view.charted || ''
      for (const b of spans) b.setAttribute('aria-pressed', String(b.dataset.span === view.span))
    },
    waiting() {
      put(words, 'Reading the history …')
      words.hidden = false
    },
    drawn({empty, legend: lines}) {
      const mark = JSON.stringify(lines)
      if (legend.__mark !== mark) {
        legend.__mark = mark
        legend.replaceChildren(
          ...lines.map(([name, hue]) => sign('line', name, hue)),
          sign('act', 'an operation'),
          sign('held', 'paused')
        )
      }
      legend.hidden = false
      put(words, 'Nothing was recorded in this time: a console records while it runs.')
      words.hidden = !empty
    }
  }
}

const approvals = (page) => {
  const table = keyedTable({
    label: 'Waiting for approval',
    columns: [
      {field: 'name', title: 'What'},
      {field: 'by', title: 'Asked by'},
      {field: 'at', title: 'Asked (UTC)', kind: 'time'},
      {field: 'surface', title: 'From'},
      {field: 'until', title: 'Ends in', kind: 'left'},
      {field: 'acts', title: '', kind: 'acts'}
    ],
    act: (row, name, opener) => page.ask(name, {approval_id: row.key}, opener)
  })
  const card = section('Pending approvals', ['overview', 'operations'], {
    body: [table.node],
    place: 'full waits'
  })
  return {
    node: card,
    tabs: ['overview', 'operations'],
    update(state) {
      // The requester can't approve it: the service refuses, so the button is not shown.
      const rows = ROWS(state.approvals)
        .sort((a, b) => a.at - b.at)
        .map((row) => (row.by === page.constants.user ? {...row, acts: null} : row))
      card.dataset.empty = String(rows.length === 0)
      table.update(rows, {at: page.now()})
    },
    tick: table.tick
  }
}

const clearedTasks = (page) => {
  const table = keyedTable({
    label: 'Cleared Tasks',
    columns: [
      {field: 'at', title: 'Cleared (UTC)', kind: 'time'},
      {field: 'queue', title: 'Queue'},
      {field: 'count', title: 'Tasks', kind: 'number'},
      {field: 'size', title: 'Size', kind: 'bytes', wide: true},
      {field: 'by', title: 'By', wide: true},
      {field: 'until', title: 'Undo ends in', kind: 'left'},
      {field: 'state', title: 'State'},
      {field: 'acts', title: '', kind: 'acts', pin: true}
    ],
    act: (row, name, opener) => page.ask(name, {trash_id: row.key}, opener)
  })
  const card = section('Cleared Tasks', ['overview', 'queues'], {body: [table.node], place: 'full'})
  return {
    node: card,
    tabs: ['overview', 'queues'],
    update(state) {
      const rows = ROWS(state.trash).sort((a, b) => b.at - a.at)
      card.dataset.empty = String(rows.length === 0)
      table.update(rows, {at: page.now()})
    },
    tick: table.tick
  }
}

// Operations that no other card has, such as those of another package.
const otherOperations = (page) => {
  const given = page.constants.others
  const node = section('Other Operations', ['operations'], {
    body: [
      el(
        'ul',
        {class: 'others'},
        ...given.map(([name, title, help]) => {
          const made = button(title, () => page.ask(name, {}, made))
          return el('li', {}, made, el('span', {class: 'mute', text: help}))
        })
      )
    ],
    place: 'full'
  })
  node.dataset.empty = String(given.length === 0)
  return {node, tabs: ['operations'], update() {}}
}
