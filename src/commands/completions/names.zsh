(( $+functions[_modtape_names] )) ||
_modtape_names() {
    local -a names
    names=(@last ${(f)"$(_call_program recordings modtape recordings list --json 2>/dev/null | sed -n 's/^{"name":"\([A-Za-z0-9._-]*\)".*/\1/p')"})
    _describe -t recordings 'recording' names
    _files -/
}

