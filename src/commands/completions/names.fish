function __modtape_names
    echo @last
    modtape recordings list --json 2>/dev/null | string replace -rf '^\{"name":"([A-Za-z0-9._-]*)".*' '$1'
end
