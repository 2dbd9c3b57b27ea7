# Registry values as bytes, for the runner and for the stand-ins: "TYPE:HEX" is what a registry keeps, whatever its sort, well-formed or not.
$global:RegistryTypes = @{
    'none' = 0; 'string' = 1; 'expand-string' = 2; 'binary' = 3; 'dword' = 4; 'dword-big-endian' = 5; 'link' = 6; 'multi-string' = 7
    'resource-list' = 8; 'qword' = 11
}
function ConvertFrom-HexText([string]$Hex) {
    if ($Hex -notmatch '^([0-9A-Fa-f]{2})*$') { throw "'$Hex' is no hex" }
    $bytes = New-Object byte[] ($Hex.Length / 2)
    for ($i = 0; $i -lt $bytes.Length; $i++) { $bytes[$i] = [Convert]::ToByte($Hex.Substring(2 * $i, 2), 16) }
    return , $bytes
}
function ConvertTo-HexText([byte[]]$Bytes) { return [BitConverter]::ToString($Bytes).Replace('-', '') }
function ConvertTo-RawText([int]$Type, [byte[]]$Bytes) { return "$($Type):$(ConvertTo-HexText $Bytes)" }
function Get-TextBytes([string]$Text) { return , [Text.Encoding]::Unicode.GetBytes($Text + [char]0) }
# A value as .NET takes it, in the bytes that Windows keeps of it.
function ConvertTo-Raw([string]$Type, $Value) {
    $number = $global:RegistryTypes[$Type]
    if ($null -eq $number) { throw "unknown type '$Type'" }
    switch ($number) {
        1 { return (ConvertTo-RawText 1 (Get-TextBytes ([string]$Value))) }
        2 { return (ConvertTo-RawText 2 (Get-TextBytes ([string]$Value))) }
        4 { return (ConvertTo-RawText 4 ([BitConverter]::GetBytes([uint32]$Value))) }
        11 { return (ConvertTo-RawText 11 ([BitConverter]::GetBytes([uint64]$Value))) }
        7 {
            $bytes = New-Object 'System.Collections.Generic.List[byte]'
            foreach ($text in @($Value)) { $bytes.AddRange([byte[]](Get-TextBytes ([string]$text))) }
            $bytes.AddRange([byte[]]@(0, 0))
            return (ConvertTo-RawText 7 $bytes.ToArray())
        }
    }
    return (ConvertTo-RawText $number ([byte[]]@($Value)))
}
# A value of a case: a number, a text, a list of texts, {type, value}, or {type, hex} with bytes as they are.
function ConvertFrom-CaseValue($Value) {
    if ($Value -is [string]) { return (ConvertTo-Raw 'string' $Value) }
    if ($Value -is [array]) { return (ConvertTo-Raw 'multi-string' $Value) }
    if ($Value -is [ValueType]) { return (ConvertTo-Raw 'dword' $Value) }
    Assert-Fields $Value 'registry value' @('type', 'value', 'hex')
    $type = [string]$Value.type
    if ($null -ne $Value.PSObject.Properties['hex']) {
        if ($null -eq $global:RegistryTypes[$type]) { throw "unknown type '$type'" }
        return (ConvertTo-RawText $global:RegistryTypes[$type] (ConvertFrom-HexText $Value.hex))
    }
    if (@('string', 'expand-string', 'dword', 'qword', 'multi-string') -contains $type) { return (ConvertTo-Raw $type $Value.value) }
    return (ConvertTo-Raw $type (ConvertFrom-HexText ([string]$Value.value)))
}
# What .NET's RegistryKey gives for these bytes, and PowerShell's provider makes of it: a number that does not fit its type is a cast that
# fails, a type without a name has no value at all.
function ConvertFrom-Raw([string]$Raw) {
    $at = $Raw.IndexOf([char]':')
    $bytes = ConvertFrom-HexText $Raw.Substring($at + 1)
    switch ([int]$Raw.Substring(0, $at)) {
        0 { return , $bytes }
        1 { return (ConvertFrom-TextBytes $bytes) }
        2 {
            $text = ConvertFrom-TextBytes $bytes
            return [regex]::Replace($text, '%(SystemRoot|windir)%', 'C:\Windows', 'IgnoreCase, CultureInvariant')
        }
        3 { return , $bytes }
        4 {
            if ($bytes.Length -gt 4) { throw 'Specified cast is not valid.' }
            $all = New-Object byte[] 4
            $bytes.CopyTo($all, 0)
            $value = [BitConverter]::ToInt32($all, 0)
            if ($value -ge 0) { return $value }
            return [BitConverter]::ToUInt32($all, 0)
        }
        7 { return , [string[]]@(Split-TextList $bytes) }
        11 {
            if ($bytes.Length -gt 8) { throw 'Specified cast is not valid.' }
            $all = New-Object byte[] 8
            $bytes.CopyTo($all, 0)
            $value = [BitConverter]::ToInt64($all, 0)
            if ($value -ge 0) { return $value }
            return [BitConverter]::ToUInt64($all, 0)
        }
    }
    return $null
}
function ConvertFrom-TextBytes([byte[]]$Bytes) {
    $text = [Text.Encoding]::Unicode.GetString($Bytes)
    if ($text.EndsWith([string][char]0, [StringComparison]::Ordinal)) { return $text.Substring(0, $text.Length - 1) }
    return $text
}
function Split-TextList([byte[]]$Bytes) {
    $text = [Text.Encoding]::Unicode.GetString($Bytes)
    $at = 0
    while ($at -lt $text.Length) {
        $next = $text.IndexOf([char]0, $at)
        if ($next -lt 0) { $next = $text.Length }
        if ($next -gt $at -or $next -lt $text.Length - 1) { $text.Substring($at, $next - $at) }
        $at = $next + 1
    }
}
# Objects refuse a field that is not in the list: a misspelt one would be a test that is not made.
function Assert-Fields($Object, [string]$What, [string[]]$Known) {
    if ($null -eq $Object) { return }
    foreach ($property in $Object.PSObject.Properties) {
        if ($Known -cnotcontains $property.Name) { throw "$What has an unknown field '$($property.Name)'" }
    }
}
