# --- registry -----------------------------------------------------------------------------------------------------------------------
# A value is @{ type; data }, data a list of protected texts: numbers decimal, bytes in hex. $null: it is absent.
# One value is read, so that a malformed neighbour does not matter.
function Get-RegistryValue([string]$Key, [string]$Name) {
    Assert-Online 'registry'
    # The provider takes a slash for a backslash: such a key would look absent.
    if ($Key.Contains('/')) { return (Get-ToolValue $Key $Name) }
    if (-not (Test-Path -LiteralPath "Registry::$Key")) { return $null }
    $shown = $Name
    if ($Name -ceq '') { $shown = '(default)' }
    # Beside -LiteralPath a name is taken as it is; that one with wildcards is not there nobody says.
    try { $all = Get-ItemProperty -LiteralPath "Registry::$Key" -Name $shown }
    catch {
        $text = $_.Exception.Message
        if ([string]$_.FullyQualifiedErrorId -clike '*PSArgumentException*' -or $text -clike "Property $([WildcardPattern]::Escape($shown)) does not exist*") { return $null }
        # .NET's reading of a number whose bytes do not fit its type ends in a cast.
        if ([string]$_.FullyQualifiedErrorId -clike '*InvalidCast*' -or $text -clike 'Specified cast is not valid*') { $text = 'it is malformed, its bytes do not fit its type' }
        throw "$Key $Name cannot be read: $text"
    }
    if ($null -eq $all) { return $null }
    $value = $all.PSObject.Properties[$shown].Value
    if ($value -is [int] -or $value -is [uint32]) { return @{ type = 'dword'; data = @("=$value") } }
    if ($value -is [long] -or $value -is [uint64]) { return @{ type = 'qword'; data = @("=$value") } }
    if ($value -is [byte[]]) { return @{ type = 'bytes'; data = @('=' + (-join (@($value) | ForEach-Object { '{0:X2}' -f $_ }))) } }
    if ($value -is [array]) { return @{ type = 'multi-string'; data = @(Protect-Text $value) } }
    return @{ type = 'text'; data = @("=$value") }
}
# To compare: what kind of text or of bytes it is does not matter, but a text with variables counts as it is stored.
function Get-ComparedData([string]$Key, [string]$Name) {
    $value = Get-RegistryValue $Key $Name
    if ($null -eq $value -or [string]$value.type -cne 'text') { return $value }
    try { return (Get-TextOfType $Key $Name $value) } catch { return $value }
}
# To change: the very type is needed, to give it back.
function Get-RegistryData([string]$Key, [string]$Name) {
    $value = Get-RegistryValue $Key $Name
    if ($null -eq $value) { return $null }
    if ([string]$value.type -ceq 'text') { return (Get-TextOfType $Key $Name $value) }
    if ([string]$value.type -ceq 'bytes') {
        $known = @{ 'Binary' = 'binary'; 'None' = 'none' }[(Get-ValueKind $Key $Name)]
        if ($null -eq $known) {
            $line = Read-ToolValue $Key $Name
            $known = @{ 'REG_BINARY' = 'binary'; 'REG_NONE' = 'none' }[[string]$line.type]
            if ($null -eq $known) { throw "$Key $Name has the type $($line.type), which could not be given back" }
        }
        $value.type = $known
    }
    return $value
}
# The type by .NET, which Constrained Language Mode does not allow: '' there, and where it cannot be told.
function Get-ValueKind([string]$Key, [string]$Name) {
    if ($script:Result.language -cne 'FullLanguage') { return '' }
    try { return [string](Get-Item -LiteralPath "Registry::$Key").GetValueKind($Name) } catch { return '' }
}
# PowerShell hands a REG_EXPAND_SZ over with its variables replaced.
function Get-TextOfType([string]$Key, [string]$Name, $Value) {
    $kind = Get-ValueKind $Key $Name
    if ($kind -ceq 'String') { return @{ type = 'string'; data = $Value.data } }
    if ($kind -ceq 'ExpandString') {
        $stored = [string](Get-Item -LiteralPath "Registry::$Key").GetValue($Name, '', 'DoNotExpandEnvironmentNames')
        return @{ type = 'expand-string'; data = @("=$stored") }
    }
    $line = Read-ToolValue $Key $Name
    if ([string]$line.type -ceq 'REG_SZ') { return @{ type = 'string'; data = $Value.data } }
    if ([string]$line.type -cne 'REG_EXPAND_SZ') { throw "$Key $Name has the type $($line.type), which could not be given back" }
    return @{ type = 'expand-string'; data = @("=$($line.text)") }
}
# One value by reg.exe: its type and text. Its name for the default value is in the language of Windows.
function Read-ToolValue([string]$Key, [string]$Name) {
    if ($Name -ceq '') { $arguments = @('query', $Key, '/ve') } else { $arguments = @('query', $Key, '/v', $Name) }
    $wanted = '^ {4}.+? {4}(REG_[A-Z_]+)( {4}(.*))?$'
    if ($Name -cne '') { $wanted = '^ {4}' + [regex]::Escape($Name) + ' {4}(REG_[A-Z_]+)( {4}(.*))?$' }
    foreach ($line in @(Invoke-Tool 'reg.exe' $arguments)) {
        $found = [regex]::Match($line, $wanted, 'IgnoreCase, CultureInvariant')
        if ($found.Success) { return @{ type = $found.Groups[1].Value; text = $found.Groups[3].Value } }
    }
    throw "the type of $Key $Name cannot be told: reg.exe does not show it"
}
function Get-ToolValue([string]$Key, [string]$Name) {
    $line = Read-ToolValue $Key $Name
    switch -CaseSensitive ([string]$line.type) {
        'REG_DWORD' { return @{ type = 'dword'; data = @('=' + [string][uint64]$line.text) } }
        'REG_QWORD' { return @{ type = 'qword'; data = @('=' + [string][uint64]$line.text) } }
        'REG_SZ' { return @{ type = 'string'; data = @('=' + $line.text) } }
        'REG_EXPAND_SZ' { return @{ type = 'expand-string'; data = @('=' + $line.text) } }
        'REG_BINARY' { return @{ type = 'binary'; data = @('=' + $line.text) } }
    }
    throw "$Key has a slash in its name, and a value of type $($line.type) cannot be read there"
}
function Assert-NoSlash([string]$Key) {
    if ($Key.Contains('/')) { throw "$Key has a slash in its name: PowerShell cannot change it" }
}
function Set-RegistryData([string]$Key, [string]$Name, $Data) {
    Assert-NoSlash $Key
    $shown = $Name
    if ($Name -ceq '') { $shown = '(default)' }
    if ($null -eq $Data) {
        # Remove-ItemProperty does not find the default value.
        if ($Name -ceq '') { [void](Invoke-Tool 'reg.exe' @('delete', $Key, '/ve', '/f')) }
        else { Remove-ItemProperty -LiteralPath "Registry::$Key" -Name $Name }
        return
    }
    $texts = @(Unprotect-Text $Data.data)
    switch -CaseSensitive ([string]$Data.type) {
        'dword' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value ([uint64]$texts[0]) -Type DWord }
        'qword' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value ([uint64]$texts[0]) -Type QWord }
        'string' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value $texts[0] -Type String }
        'expand-string' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value $texts[0] -Type ExpandString }
        'multi-string' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value ([string[]]$texts) -Type MultiString }
        'binary' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value ([byte[]]@(ConvertFrom-Hex $texts[0])) -Type Binary }
        'none' { Set-ItemProperty -LiteralPath "Registry::$Key" -Name $shown -Value ([byte[]]@(ConvertFrom-Hex $texts[0])) -Type None }
        default { throw "unknown type '$($Data.type)'" }
    }
}
function ConvertFrom-Hex([string]$Hex) {
    [regex]::Matches($Hex, '..') | ForEach-Object { [byte]('0x' + $_.Value) }
}
function Test-Same($One, $Two) {
    if ($null -eq $One -or $null -eq $Two) { return ($null -eq $One) -and ($null -eq $Two) }
    if ([string]$One.type -cne [string]$Two.type) { return $false }
    $first = @($One.data)
    $second = @($Two.data)
    if ($first.Count -ne $second.Count) { return $false }
    for ($i = 0; $i -lt $first.Count; $i++) { if (-not ([string]$first[$i]).Equals([string]$second[$i])) { return $false } }
    return $true
}
# The value that an action sets. The type follows from the value where the playbook gives none.
function New-RegistryData($Step) {
    $given = [string](Get-Field $Step 'type' '')
    if (-not (Test-Field $Step 'value')) { throw 'a value must be a whole number, a text or a list of texts' }
    $value = $Step.value
    Assert-NoDate $value
    $kind = ''
    if ($value -is [string]) { $kind = 'text' }
    elseif ($value -is [array]) {
        $kind = 'list'
        foreach ($element in $value) { if ($element -isnot [string]) { $kind = '' } }
    }
    elseif ($value -isnot [bool] -and [string]$value -cmatch '^-?[0-9]+\z') { $kind = 'number' }
    if ($kind -eq '') { throw 'a value must be a whole number, a text or a list of texts' }
    if ($given -eq '') { $given = @{ number = 'dword'; text = 'string'; list = 'multi-string' }[$kind] }
    $fits = @{ 'dword' = 'number'; 'qword' = 'number'; 'string' = 'text'; 'expand-string' = 'text'; 'binary' = 'text'; 'multi-string' = 'list' }[$given]
    if ($null -eq $fits -or $given -cne $given.ToLowerInvariant()) { throw "unknown type '$given'" }
    if ($fits -cne $kind) { throw "a $given cannot be set to a $kind" }
    if ($kind -ceq 'number') {
        $number = $null
        try { $number = [uint64][string]$value } catch { $null = $_ }
        if ($null -eq $number -or ($given -ceq 'dword' -and $number -gt 4294967295)) { throw "'$value' is no $given" }
    }
    if ($given -ceq 'binary') {
        if ($value -cnotmatch '^([0-9A-Fa-f]{2})*\z') { throw "'$value' is no hexadecimal" }
        $value = $value.ToUpperInvariant()
    }
    return @{ type = $given; data = @(Protect-Text $value) }
}
function Test-Equal($Data, $Wanted) {
    Assert-NoDate $Wanted
    $texts = @(Unprotect-Text $Data.data)
    if ($Data.type -ceq 'multi-string') {
        if ($Wanted -isnot [array] -or $Wanted.Count -ne $texts.Count) { return $false }
        for ($i = 0; $i -lt $texts.Count; $i++) {
            if ($Wanted[$i] -isnot [string] -or -not (Test-Text $texts[$i] $Wanted[$i])) { return $false }
        }
        return $true
    }
    if ($Wanted -is [array]) { return $false }
    if ($Data.type -ceq 'dword' -or $Data.type -ceq 'qword') { return ($Wanted -isnot [string]) -and ([string]$Wanted -eq $texts[0]) }
    # A text ends where Windows takes it to end: at its first NUL.
    $ended = $texts[0].Split([char]0)
    return ($Wanted -is [string]) -and (Test-Text $Wanted $ended[0])
}
