# Reading cases: what the runner and trouble.ps1 share.
function Get-Field($Object, [string]$Name, $Default) {
    if ($null -eq $Object) { return $Default }
    $property = $Object.PSObject.Properties[$Name]
    if ($null -eq $property -or $null -eq $property.Value) { return $Default }
    return $property.Value
}
function Get-Properties($Object, [string]$Name) {
    $value = Get-Field $Object $Name $null
    if ($null -ne $value) { foreach ($property in $value.PSObject.Properties) { $property } }
}
$script:hasDateKind = @((Get-Command -Name ConvertFrom-Json).Parameters.Keys) -contains 'DateKind'
function Read-Json([string]$Text) {
    if ($script:hasDateKind) { return (ConvertFrom-Json -InputObject $Text -DateKind String) }
    return (ConvertFrom-Json -InputObject $Text)
}
# The text that is tried.
function Set-Agent([string]$File) {
    $script:agentHash = (Get-FileHash -LiteralPath $File -Algorithm SHA256).Hash.ToLowerInvariant()
    $script:agentLines = @([IO.File]::ReadAllLines($File))
}
Set-Agent $Agent
function Read-Case([string]$File) { return (Read-Json ([IO.File]::ReadAllText($File).Replace('@AGENT@', $script:agentHash))) }
function ConvertTo-Time($Value) {
    if ($Value -is [DateTime]) { return $Value.ToUniversalTime() }
    return [DateTime]::Parse([string]$Value, [Globalization.CultureInfo]::InvariantCulture, 'AssumeUniversal, AdjustToUniversal')
}
