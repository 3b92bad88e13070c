function __modtape_names
    set -l folder
    set -l before
    for word in (commandline -opc)
        if test "$before" = --recordings
            set folder --recordings $word
        else if string match -q -- '--recordings=*' $word
            set folder $word
        end
        set before $word
    end
    echo @last
    modtape $folder recordings list --json 2>/dev/null | string replace -rf '^\{"name":"([A-Za-z0-9._-]*)".*' '$1'
end
