# fleetmend agent: does what one playbook says on this Windows. One static text, the playbook is data: nothing of it is ever run as code
# except the bodies of its script steps. Windows PowerShell 5.1 and PowerShell 7, Full and Constrained Language Mode: cmdlets and core types
# only. ASCII only. remediate/windows holds the same rules in Go; the cases in remediate/testdata/conformance hold both to each other.
# In:  $FleetmendEnvelope, JSON text: {run, nonce, mode: detect|fix|verify|undo, root, playbook, record, room};
#      $FleetmendAgent, the SHA-256 of this text in hex; $FleetmendText, this text, or '' where it is kept on the machine already
# Out: lines "@@fm NONCE I/N CHUNK|" that join to the result's JSON; exit code 1 when the outcome is failed, else 0.
# Texts are compared and folded by their characters, never by the rules of a language: no -match, LastIndexOf or StartsWith with a text.
# Keeps everything it needs to take a fix back in %ProgramData%\fleetmend\runs\RUN (see remediate/windows/record.go).
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# --- reading data -------------------------------------------------------------------------------------------------------------------
# One value, not a list: a function's list of one would arrive as its element.
function Get-Field($Object, [string]$Name, $Default) {
    $property = $Object.PSObject.Properties[$Name]
    if ($null -eq $property -or $null -eq $property.Value) { return $Default }
    return $property.Value
}
# A list; call it inside @( ).
function Get-List($Object, [string]$Name) {
    $property = $Object.PSObject.Properties[$Name]
    if ($null -eq $property -or $null -eq $property.Value) { return }
    foreach ($element in @($property.Value)) { $element }
}
function Test-Field($Object, [string]$Name) {
    $property = $Object.PSObject.Properties[$Name]
    return ($null -ne $property) -and ($null -ne $property.Value)
}
# From 7.5 on texts that look like dates can be left alone; 5.1 always does.
function Read-Json([string]$Text) {
    if ($script:HasDateKind) { return (ConvertFrom-Json -InputObject $Text -DateKind String) }
    return (ConvertFrom-Json -InputObject $Text)
}
# Windows' names and values may hold half a surrogate pair: UTF-8 cannot say it, and JSON readers replace it.
$script:Half = '[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]'
function Assert-Whole($Entry) {
    $old = @()
    if ($null -ne $Entry['old']) { $old = @($Entry['old'].data) }
    foreach ($text in @($Entry.Values) + $old) {
        if ([regex]::IsMatch([string]$text, $script:Half)) { throw "$($Entry['target']) holds half a character, which no record can hold: it is not changed" }
    }
}
# JSON in ASCII.
function ConvertTo-Ascii([string]$Json) {
    if ($Json -cmatch '[^\x20-\x7e]') {
        foreach ($code in @($Json.ToCharArray() | ForEach-Object { [int]$_ } | Where-Object { $_ -gt 126 } | Sort-Object -Unique)) {
            $Json = $Json.Replace([string][char]$code, ('\u{0:x4}' -f $code))
        }
    }
    return $Json
}
function ConvertTo-Utc($Value) {
    if ($Value -is [DateTime]) { return $Value.ToUniversalTime() }
    return [DateTime]::Parse([string]$Value, [cultureinfo]::InvariantCulture, 'AssumeUniversal, AdjustToUniversal')
}
# Without colours and other codes of a terminal, which do harm where they are shown.
function Get-Clean([string]$Text) {
    $plain = [regex]::Replace([regex]::Replace($Text, '\x1b\[[0-9;?]*[ -/]*[@-\x7e]', ''), '[\x00-\x08\x0b-\x1f\x7f-\x9f]', '')
    return [regex]::Replace($plain, $script:Half, [string][char]0xfffd)
}
function Limit-Text([string]$Text) {
    if ($Text.Length -gt 2000) { return $Text.Substring(0, 2000) }
    return $Text
}
function Get-UnixTime {
    return [long](([DateTime]::UtcNow - [DateTime]'1970-01-01').TotalSeconds)
}
# Texts in records stand behind a "=": no JSON reader takes them for a date then.
function Protect-Text($Texts) {
    foreach ($text in @($Texts)) { '=' + [string]$text }
}
function Unprotect-Text($Texts) {
    foreach ($text in @($Texts)) { ([string]$text).Substring(1) }
}
# By their characters: -eq follows a language's rules, which ignore a soft hyphen or a zero and may take one letter for two.
function Test-Text([string]$One, [string]$Two) {
    return $One.ToUpperInvariant().Equals($Two.ToUpperInvariant())
}
function Test-Pattern([string]$Text, [string]$Pattern) {
    return [regex]::IsMatch($Text, $Pattern, 'IgnoreCase, CultureInvariant')
}
function Assert-NoDate($Value) {
    foreach ($one in @($Value)) {
        if ($one -is [DateTime]) { throw 'this PowerShell takes the text for a date: use Windows PowerShell 5.1 or PowerShell 7.5' }
    }
}
function Assert-Online([string]$What) {
    if ($script:Root -ne '') { throw "not possible on an offline installation: $What" }
}
