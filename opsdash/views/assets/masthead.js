// Which deployment this is, and who is looking at it.
export function render({model}) {
  const make = (name, text) => { const e = document.createElement('span'); e.className = name; e.textContent = text; e.title = text; return e }
  const head = document.createElement('div')
  head.className = 'head'
  head.append(make('mark', 'opsdash'))
  if (model.environment) head.append(make('env', model.environment))
  head.append(make('where', model.where), make('who', model.who))
  if (model.mode) head.append(make('dev', model.mode))
  return head
}
