// What the confirmation dialog says and asks. Queue names and reasons are other people's text: textContent only.
export function render({model}) {
  const make = (tag, name, text) => { const e = document.createElement(tag); if (name) e.className = name; if (text != null) e.textContent = text; return e }
  const root = make('div'), warning = make('p', 'warning'), list = make('ul'), form = make('form'), problem = make('p', 'problem')
  problem.setAttribute('role', 'alert')
  form.onsubmit = (event) => event.preventDefault()
  root.append(warning, list, form, problem)
  const say = () => {
    warning.textContent = model.warning
    list.hidden = model.lines.length === 0
    list.replaceChildren(...model.lines.map((text) => make('li', '', text)))
  }
  const complain = () => { problem.textContent = model.problem }
  const ask = () => {
    form.replaceChildren(...model.fields.map(({name, label, kind, placeholder}) => {
      const flag = kind === 'flag', field = make('label', flag ? 'flag' : 'field'), input = make('input')
      input.type = flag ? 'checkbox' : 'text'
      input.autocomplete = 'off'
      if (flag) input.checked = !!model.values[name]
      else input.value = model.values[name] || ''
      if (placeholder) input.placeholder = placeholder
      input.onchange = () => { model.values = {...model.values, [name]: flag ? input.checked : input.value} }
      field.append(...(flag ? [input, make('span', '', label)] : [make('span', '', label), input]))
      return field
    }))
  }
  say()
  ask()
  complain()
  for (const name of ['warning', 'lines']) model.on(name, say)
  model.on('fields', ask)
  model.on('problem', complain)
  return root
}
