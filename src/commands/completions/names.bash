# The names of recordings, for the words and flags that take one.
_modtape() {
    _modtape_words "$@"
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local word before verb= dir= n=0 i
    [[ $cur == -* ]] && return 0
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]} before=${COMP_WORDS[i-1]}
        [[ $word == -- ]] && return 0
        [[ $before == --recordings ]] && dir=$word
        case $before in
            --recording|@FLAGS@) continue ;;
        esac
        [[ $word == -* ]] && continue
        case $verb in
            '') verb=$word ;;
            recordings) verb="recordings $word" ;;
            *) n=$((n + 1)) ;;
        esac
    done
    case $prev in
        --recording) ;;
        @FLAGS@) return 0 ;;
        *)
            case "$verb $n" in
                @VERBS@) ;;
                *) return 0 ;;
            esac
            ;;
    esac
    # Names of other characters are left to the file names.
    local names
    names=$(modtape ${dir:+--recordings "$dir"} recordings list --json 2>/dev/null |
        sed -n 's/^{"name":"\([A-Za-z0-9._-]*\)".*/\1/p')
    COMPREPLY=($(compgen -W "@last $names" -- "$cur"))
}
