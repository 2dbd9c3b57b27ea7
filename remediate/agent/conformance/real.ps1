# The machine of a case on Windows: real files in a scratch folder, real values below a scratch key of the user who runs this.
$script:scratchKey = 'Software\fleetmend-conformance'
$script:realKinds = @{ 'string' = 'String'; 'expand-string' = 'ExpandString'; 'dword' = 'DWord'; 'qword' = 'QWord'; 'multi-string' = 'MultiString'; 'binary' = 'Binary'; 'none' = 'None' }
function Set-RealKey($Key) {
    $real = [Microsoft.Win32.Registry]::CurrentUser.CreateSubKey("$($script:scratchKey)\" + ($Key.Name -replace '^HKEY_LOCAL_MACHINE\\', ''))
    foreach ($entry in @($Key.Value.PSObject.Properties)) {
        $name = $entry.Name
        if ($name -eq '(default)') { $name = '' }
        if ($null -eq $entry.Value) {
            $real.DeleteValue($name, $false)
            continue
        }
        $given = $entry.Value
        $type = 'dword'
        if ($given -is [string]) { $type = 'string' }
        elseif ($given -is [array]) { $type = 'multi-string' }
        elseif ($given -isnot [ValueType]) {
            $type = [string]$given.type
            $given = $given.value
        }
        $value = $given
        if ($type -eq 'dword') { $value = [BitConverter]::ToInt32([BitConverter]::GetBytes([uint32]$given), 0) }
        if ($type -eq 'qword') { $value = [BitConverter]::ToInt64([BitConverter]::GetBytes([uint64]$given), 0) }
        if ($type -eq 'multi-string') { $value = [string[]]@($given) }
        if ($type -eq 'binary' -or $type -eq 'none') { $value = [byte[]](ConvertFrom-HexText $given) }
        $real.SetValue($name, $value, [Microsoft.Win32.RegistryValueKind]$script:realKinds[$type])
    }
    $real.Close()
}
function Get-RealLines([string]$Below) {
    $words = @{}
    foreach ($word in $script:realKinds.Keys) { $words[$script:realKinds[$word]] = $word }
    $real = [Microsoft.Win32.Registry]::CurrentUser.OpenSubKey("$($script:scratchKey)$Below")
    if ($null -eq $real) { return }
    foreach ($name in $real.GetValueNames()) {
        $value = $real.GetValue($name, $null, 'DoNotExpandEnvironmentNames')
        $type = $words[[string]$real.GetValueKind($name)]
        if ($type -eq 'dword') { $value = [BitConverter]::ToUInt32([BitConverter]::GetBytes([int]$value), 0) }
        if ($type -eq 'qword') { $value = [BitConverter]::ToUInt64([BitConverter]::GetBytes([long]$value), 0) }
        $shown = $name
        if ($name -eq '') { $shown = '(default)' }
        ("HKEY_LOCAL_MACHINE$Below".ToUpperInvariant()) + " $shown=" + (ConvertTo-Raw $type $value)
    }
    foreach ($name in $real.GetSubKeyNames()) { Get-RealLines "$Below\$name" }
    $real.Close()
}
function Set-RealState([string]$Scratch, $State) {
    Assert-Fields $State 'the machine' $script:stateFields
    [void][IO.Directory]::CreateDirectory((Join-Path $Scratch 'ProgramData'))
    foreach ($file in @(Get-Field $State 'files' @())) { Write-CaseFile $Scratch $file }
    foreach ($name in @(Get-Field $State 'remove' @())) { [IO.File]::Delete((Get-CaseFile $Scratch $name)) }
    foreach ($key in @(Get-Properties $State 'registry')) { Set-RealKey $key }
}
function Convert-Playbook([string]$Scratch, [string]$Json) {
    $folder = $Scratch.Replace('\', '\\') + '\\'
    $key = ('HKEY_CURRENT_USER\' + $script:scratchKey + '\').Replace('\', '\\')
    return $Json.Replace('"C:\\', '"' + $folder).Replace('"HKEY_LOCAL_MACHINE\\', '"' + $key)
}
# What only a stand-in may do is skipped on Windows.
function Get-RealSkipReason($Test) {
    $json = ConvertTo-Json -InputObject $Test -Depth 20 -Compress
    if ($json -match '"(tools|bcd|bcd-other)":') { return 'it would need the real boot configuration or tools' }
    if ($json -match '"(services|service|driver|scm|dependents)":') { return 'it would need real services' }
    if ($json -match '"(os|uptime|plus)":') { return 'it needs another build, uptime or trouble than this machine has' }
    if ($json -match '"links":|"type":"[a-z-]+","hex"|"path":"D:') { return 'it would need links, malformed values or a second drive' }
    if ($json -match '"reboot":"(always|if-fixed)"') { return 'it would restart this machine' }
    if ($json -match '"(file|no-file)":"%') { return 'it would need files outside the scratch folder' }
    if ($json -match '"root":"') { return 'an offline root cannot be mapped into the scratch folder' }
    return ''
}
