/** The shells that there is a script for. */
export const shells = ["bash", "zsh", "fish", "powershell"] as const;

/** One of them. */
export type Shell = (typeof shells)[number];

/** What a shell must run to complete `muster`. */
export function completionScript(shell: Shell): string {
  return scripts[shell];
}

// Bash cuts words at : and =, so the program is handed the line, and what bash holds already is taken off the answers.
const bash = `# muster completion for bash. Add to ~/.bashrc:  source <(muster completion bash)
_muster() {
  local line="\${COMP_LINE:0:COMP_POINT}" cur="\${COMP_WORDS[COMP_CWORD]}" reply value held files=
  [[ "$cur" == [:=] ]] && cur=
  held="\${line##*[[:space:]]}"
  held="\${held%"$cur"}"
  COMPREPLY=()
  while IFS= read -r reply; do
    case "$reply" in
      :files) files=1 ;;
      :none) ;;
      *)
        value="\${reply%%$'\\t'*}"
        COMPREPLY+=("\${value#"$held"}")
        ;;
    esac
  done < <("\${COMP_WORDS[0]}" __complete --line "$line" 2>/dev/null)
  if [[ -n "$files" ]]; then
    compopt -o default 2>/dev/null
  elif [[ \${#COMPREPLY[@]} -eq 1 && "\${COMPREPLY[0]}" == *= ]]; then
    compopt -o nospace 2>/dev/null
  fi
}
complete -F _muster muster`;

const zsh = `#compdef muster
# muster completion for zsh. Add to ~/.zshrc:  source <(muster completion zsh)
_muster() {
  local reply files value about
  local -a found
  while IFS= read -r reply; do
    case "$reply" in
      :files) files=1 ;;
      :none) ;;
      *)
        value="\${reply%%$'\\t'*}"
        about="\${reply#*$'\\t'}"
        found+=("\${value//:/\\\\:}\${about:+:$about}")
        ;;
    esac
  done < <("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( \${#found} )) && _describe 'muster' found
  [[ -n "$files" ]] && _files
}
if (( $+functions[compdef] )); then compdef _muster muster; else autoload -Uz compinit && compinit && compdef _muster muster; fi`;

const fish = `# muster completion for fish. Put into ~/.config/fish/completions/muster.fish:  muster completion fish > ...
function __muster_complete
    set -l words (commandline -opc) (commandline -ct)
    for reply in (command $words[1] __complete -- $words[2..-1] 2>/dev/null)
        switch $reply
            case ':files'
                __fish_complete_path (commandline -ct)
            case ':none'
            case '*'
                echo $reply
        end
    end
end
complete -c muster -f -a '(__muster_complete)'`;

const powershell = `# muster completion for PowerShell. Add to $PROFILE:  muster completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName muster -ScriptBlock {
  param($word, $ast, $cursor)
  $words = @($ast.CommandElements | Where-Object { $_.Extent.EndOffset -le $cursor } | Select-Object -Skip 1 | ForEach-Object { $_.Extent.Text })
  if ($word -eq '') { $words += '""' }
  & muster __complete -- @words 2>$null | Where-Object { $_ -notmatch '^:(files|none)$' } | ForEach-Object {
    $value, $about = $_ -split "\`t", 2
    if (-not $about) { $about = $value }
    [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $about)
  }
}`;

const scripts: Readonly<Record<Shell, string>> = { bash, zsh, fish, powershell };
