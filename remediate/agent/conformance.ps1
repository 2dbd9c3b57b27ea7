# Runs case files through bootstrap.ps1 and agent.ps1 as a route does: a new PowerShell for every step, -EncodedCommand, lines on stdin.
# Windows PowerShell 5.1 and PowerShell 7, no modules.
#   conformance.ps1 [-Path FOLDER] [-Case NAME] [-LanguageMode Full|Constrained]
# One line per case, "N passed, N failed" at the end, exit code = cases failed. The case format: docs/playbooks-cases.md.
# Off Windows a drive C:, a registry, services, the uptime and Windows' tools are stood in for; the agent itself is untouched.
# On Windows files and registry are real ones, inside a scratch folder and a scratch key; a case that needs more is skipped and says why.
param(
    [string]$Path = (Join-Path (Split-Path $PSScriptRoot -Parent) 'testdata/conformance'),
    [string]$Case = '*',
    [ValidateSet('Full', 'Constrained')][string]$LanguageMode = 'Full'
)
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$shell = (Get-Process -Id $PID).Path
$bootstrap = [IO.File]::ReadAllText((Join-Path $PSScriptRoot 'bootstrap.ps1'))
$agent = @([IO.File]::ReadAllLines((Join-Path $PSScriptRoot 'agent.ps1')))
$onWindows = [string]$env:OS -eq 'Windows_NT'
$hasDateKind = @((Get-Command -Name ConvertFrom-Json).Parameters.Keys) -contains 'DateKind'
$scratchKey = 'Software\fleetmend-conformance'
$exitCode = 0

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
function Read-Json([string]$Text) {
    if ($script:hasDateKind) { return (ConvertFrom-Json -InputObject $Text -DateKind String) }
    return (ConvertFrom-Json -InputObject $Text)
}
function ConvertFrom-Hex([string]$Hex) {
    $bytes = New-Object byte[] ($Hex.Length / 2)
    for ($i = 0; $i -lt $bytes.Length; $i++) { $bytes[$i] = [Convert]::ToByte($Hex.Substring(2 * $i, 2), 16) }
    return , $bytes
}

# What hides the cmdlets that need Windows: functions win over cmdlets of the same name. They run in the agent's language mode.
$standIns = @'
[void](New-PSDrive -Name C -PSProvider FileSystem -Root '@SCRATCH@')
$env:SystemRoot = '@SCRATCH@/Windows'
$env:ProgramData = 'C:\ProgramData'
function Read-StandIn([string]$Kind) {
    $all = ConvertFrom-Json -InputObject (Get-Content -LiteralPath "@SCRATCH@.$Kind" -Raw)
    if ($Kind -eq 'registry' -and (Microsoft.PowerShell.Management\Test-Path -LiteralPath '@SCRATCH@.deleted')) {
        foreach ($key in @(Get-Content -LiteralPath '@SCRATCH@.deleted')) { Remove-StandInValue $all $key '(default)' }
    }
    return $all
}
function Remove-StandInValue($All, [string]$Key, [string]$Name) {
    $old = $All.PSObject.Properties[$Key]
    $rest = New-Object PSObject
    foreach ($entry in @($old.Value.PSObject.Properties)) {
        if ($entry.Name -ne $Name) { Add-Member -InputObject $rest -MemberType NoteProperty -Name $entry.Name -Value $entry.Value }
    }
    Add-Member -InputObject $All -MemberType NoteProperty -Name $old.Name -Value $rest -Force
}
function Save-Registry($All) {
    Remove-Item -LiteralPath '@SCRATCH@.deleted' -ErrorAction SilentlyContinue
    Set-Content -LiteralPath '@SCRATCH@.registry' -Value (ConvertTo-Json -InputObject $All -Depth 6)
    $lines = @()
    foreach ($key in @($All.PSObject.Properties)) {
        foreach ($entry in @($key.Value.PSObject.Properties)) {
            if ($entry.Value.type -eq 'string') { $lines += "$($key.Name)|$($entry.Name)|REG_SZ|" + $entry.Value.data[0].Substring(1) }
            if ($entry.Value.type -eq 'expand-string') { $lines += "$($key.Name)|$($entry.Name)|REG_EXPAND_SZ|" + $entry.Value.data[0].Substring(1) }
        }
    }
    Set-Content -LiteralPath '@SCRATCH@.types' -Value $lines
}
function Test-Path { param($LiteralPath, $PathType = 'Any')
    if ($LiteralPath -notlike 'Registry::*') { return (Microsoft.PowerShell.Management\Test-Path -LiteralPath $LiteralPath -PathType $PathType) }
    return ($null -ne (Read-StandIn 'registry').PSObject.Properties[$LiteralPath.Substring(10)])
}
function Get-ItemProperty { param($LiteralPath)
    $key = (Read-StandIn 'registry').PSObject.Properties[$LiteralPath.Substring(10)]
    if ($null -eq $key) { throw "no key $LiteralPath" }
    $entries = @($key.Value.PSObject.Properties)
    if ($entries.Count -eq 0) { return }
    $all = New-Object PSObject
    foreach ($entry in $entries) {
        $texts = @($entry.Value.data | ForEach-Object { ([string]$_).Substring(1) })
        $value = ''
        if ($texts.Count -gt 0) { $value = $texts[0] }
        $type = [string]$entry.Value.type
        if ($type -eq 'dword') { if ([uint64]$value -le 2147483647) { $value = [int]$value } else { $value = [uint32]$value } }
        if ($type -eq 'qword') { if ([uint64]$value -le 9223372036854775807) { $value = [long]$value } else { $value = [uint64]$value } }
        if ($type -eq 'expand-string') { $value = $value.Replace('%SystemRoot%', 'C:\Windows') }
        if ($type -eq 'multi-string') { $value = [string[]]$texts }
        if ($type -eq 'binary') { $value = [byte[]]@([regex]::Matches($value, '..') | ForEach-Object { [byte]('0x' + $_.Value) }) }
        Add-Member -InputObject $all -MemberType NoteProperty -Name $entry.Name -Value $value
    }
    $all
}
function Set-ItemProperty { param($LiteralPath, $Name, $Value, $Type)
    $known = @{ DWord = 'dword'; QWord = 'qword'; String = 'string'; ExpandString = 'expand-string'; MultiString = 'multi-string'; Binary = 'binary' }
    $data = @("=$Value")
    if ($Type -eq 'MultiString') { $data = @(@($Value) | ForEach-Object { "=$_" }) }
    if ($Type -eq 'Binary') { $data = @('=' + (-join (@($Value) | ForEach-Object { '{0:X2}' -f $_ }))) }
    $all = Read-StandIn 'registry'
    $key = $all.PSObject.Properties[$LiteralPath.Substring(10)]
    if ($null -eq $key) { throw "no key $LiteralPath" }
    $entry = New-Object PSObject -Property @{ type = $known[[string]$Type]; data = $data }
    Add-Member -InputObject $key.Value -MemberType NoteProperty -Name $Name -Value $entry -Force
    Save-Registry $all
}
function Remove-ItemProperty { param($LiteralPath, $Name)
    if ($Name -eq '(default)') { throw 'Property (default) does not exist' }
    $all = Read-StandIn 'registry'
    $key = $LiteralPath.Substring(10)
    Remove-StandInValue $all $key $Name
    Save-Registry $all
}
function Get-Service { param($Name)
    $state = (Read-StandIn 'services').PSObject.Properties[$Name]
    if ($null -ne $state) { New-Object PSObject -Property @{ Name = $state.Name; Status = $state.Value } }
}
function Set-StandInService([string]$Name, [string]$Status) {
    $all = Read-StandIn 'services'
    if ($null -eq $all.PSObject.Properties[$Name]) { throw "no service $Name" }
    Add-Member -InputObject $all -MemberType NoteProperty -Name $Name -Value $Status -Force
    Set-Content -LiteralPath '@SCRATCH@.services' -Value (ConvertTo-Json -InputObject $all)
}
function Stop-Service { param($Name)
    Set-StandInService $Name 'Stopped'
}
function Start-Service { param($Name)
    $values = Get-ItemProperty -LiteralPath "Registry::HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\$Name"
    if ($values.Start -eq 4) { throw "service $Name is disabled" }
    Set-StandInService $Name 'Running'
}
if (Microsoft.PowerShell.Management\Test-Path -LiteralPath '@SCRATCH@.uptime') {
    function Get-CimInstance { param($ClassName)
        $seconds = [int](Get-Content -LiteralPath '@SCRATCH@.uptime' -Raw)
        $now = [DateTime]::Now
        New-Object PSObject -Property @{ LocalDateTime = $now; LastBootUpTime = $now.AddSeconds(-$seconds) }
    }
}

'@
# reg.exe as the agent reads types and deletes default values with it; it is how, not what, so its calls are not written down.
$regTool = @'
#!/bin/sh
if [ "$1 $3 $4" = 'delete /ve /f' ]; then printf '%s\n' "$2" >> '@SCRATCH@.deleted'; exit 0; fi
name="$4"; [ "$3" = /ve ] && name='(default)'
low() { printf '%s' "$1" | tr 'A-Z' 'a-z'; }
while IFS='|' read -r key value type text; do
  if [ "$(low "$key")" = "$(low "$2")" ] && [ "$(low "$value")" = "$(low "$name")" ]; then
    printf '\n%s\n    %s    %s    %s\n\n' "$key" "$value" "$type" "$text"; exit 0
  fi
done < '@SCRATCH@.types'
echo 'ERROR: The system was unable to find the specified registry key or value.' >&2
exit 1
'@
# bcdedit.exe with a memory, for a case with "bcd".
$bcdTool = @'
#!/bin/sh
echo "bcdedit.exe $*" >> '@SCRATCH@.called'
all='@SCRATCH@.bcd'
case "$1" in
  /enum) printf '\nWindows Boot Loader\n-------------------\n'; cat "$all" ;;
  /set) grep -iv "^$3 " "$all" > "$all.new"; printf '%s %s\n' "$3" "$4" >> "$all.new"; mv "$all.new" "$all" ;;
  /deletevalue) grep -iq "^$3 " "$all" || { echo 'Element not found.'; exit 1; }; grep -iv "^$3 " "$all" > "$all.new"; mv "$all.new" "$all" ;;
  *) echo 'The parameter is incorrect.'; exit 1 ;;
esac
exit 0
'@
function Set-Tool([string]$Scratch, [string]$Name, [string]$Text) {
    $file = Join-Path $Scratch "Windows/System32/$Name"
    [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($file))
    [IO.File]::WriteAllText($file, $Text.Replace("`r`n", "`n").Replace('@SCRATCH@', $Scratch))
    & chmod 755 $file
}
# A tool answers from the case by its arguments and writes down that it was called.
function New-Tool([string]$Scratch, [string]$Name, $Answers) {
    $text = "#!/bin/sh`necho `"$Name `$*`" >> '$Scratch.called'`ncase `"`$*`" in`n"
    foreach ($answer in @($Answers)) {
        $lines = @(@(Get-Field $answer 'output' @()) | ForEach-Object { "'" + $_ + "'" }) -join ' '
        $text += "  '$($answer.arguments)') "
        if ($lines -ne '') { $text += "printf '%s\n' $lines; " }
        $text += "exit $(Get-Field $answer 'exit' 0) ;;`n"
    }
    Set-Tool $Scratch $Name ($text + "  *) echo unexpected; exit 99 ;;`nesac`n")
}

# --- the machine of a case: written, changed, read ----------------------------------------------------------------------------------
function Get-CaseFile([string]$Scratch, [string]$Name) {
    $below = $Name.Substring(3).Replace('\', [string][IO.Path]::DirectorySeparatorChar)
    return (Join-Path $Scratch $below)
}
# A registry value of a case in one form: a type and a list of texts behind "=".
function ConvertTo-Entry($Value) {
    $type = ''
    if ($Value -is [string]) { $type = 'string'; $texts = @($Value) }
    elseif ($Value -is [array]) { $type = 'multi-string'; $texts = @($Value) }
    elseif ($Value -is [ValueType]) { $type = 'dword'; $texts = @([string]$Value) }
    else { $type = [string]$Value.type; $texts = @($Value.value) }
    return (New-Object PSObject -Property @{ type = $type; data = @($texts | ForEach-Object { "=$_" }) })
}
function Get-RegistryState([string]$Scratch) {
    $all = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText("$Scratch.registry"))
    if ([IO.File]::Exists("$Scratch.deleted")) {
        foreach ($key in [IO.File]::ReadAllLines("$Scratch.deleted")) { $all.PSObject.Properties[$key].Value.PSObject.Properties.Remove('(default)') }
    }
    return $all
}
function Set-RegistryState([string]$Scratch, $Change) {
    $all = Get-RegistryState $Scratch
    foreach ($key in @(Get-Properties $Change 'registry')) {
        if ($null -eq $all.PSObject.Properties[$key.Name]) { Add-Member -InputObject $all -MemberType NoteProperty -Name $key.Name -Value (New-Object PSObject) }
        $values = $all.PSObject.Properties[$key.Name].Value
        foreach ($entry in @($key.Value.PSObject.Properties)) {
            if ($null -eq $entry.Value) { $values.PSObject.Properties.Remove($entry.Name) }
            else { Add-Member -InputObject $values -MemberType NoteProperty -Name $entry.Name -Value (ConvertTo-Entry $entry.Value) -Force }
        }
    }
    [IO.File]::WriteAllText("$Scratch.registry", (ConvertTo-Json -InputObject $all -Depth 6))
    [IO.File]::Delete("$Scratch.deleted")
    $lines = ''
    foreach ($key in @($all.PSObject.Properties)) {
        foreach ($entry in @($key.Value.PSObject.Properties)) {
            $kind = ''
            if ($entry.Value.type -eq 'string') { $kind = 'REG_SZ' }
            if ($entry.Value.type -eq 'expand-string') { $kind = 'REG_EXPAND_SZ' }
            if ($kind -ne '') { $lines += "$($key.Name)|$($entry.Name)|$kind|" + $entry.Value.data[0].Substring(1) + "`n" }
        }
    }
    [IO.File]::WriteAllText("$Scratch.types", $lines)
}
function Set-State([string]$Scratch, $State) {
    foreach ($file in @(Get-Field $State 'files' @())) {
        $target = Get-CaseFile $Scratch $file.path
        [void][IO.Directory]::CreateDirectory([IO.Path]::GetDirectoryName($target))
        [IO.File]::WriteAllBytes($target, (ConvertFrom-Hex $file.hex))
        [IO.File]::SetLastWriteTimeUtc($target, ([DateTime]$file.modified).ToUniversalTime())
    }
    foreach ($name in @(Get-Field $State 'remove' @())) { [IO.File]::Delete((Get-CaseFile $Scratch $name)) }
    if ($script:onWindows) {
        foreach ($key in @(Get-Properties $State 'registry')) { Set-RealKey $key }
        return
    }
    Set-RegistryState $Scratch $State
    $services = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText("$Scratch.services"))
    foreach ($service in @(Get-Properties $State 'services')) {
        $status = 'Stopped'
        if ($service.Value -eq 'running') { $status = 'Running' }
        Add-Member -InputObject $services -MemberType NoteProperty -Name $service.Name -Value $status -Force
    }
    [IO.File]::WriteAllText("$Scratch.services", (ConvertTo-Json -InputObject $services))
    $bcd = ''
    foreach ($element in @(Get-Properties $State 'bcd')) { if ($element.Value -ne '') { $bcd += "$($element.Name) $($element.Value)`n" } }
    if ($null -ne (Get-Field $State 'bcd' $null)) {
        [IO.File]::WriteAllText("$Scratch.bcd", $bcd)
        Set-Tool $Scratch 'bcdedit.exe' $script:bcdTool
    }
    foreach ($tool in @(Get-Properties $State 'tools')) { New-Tool $Scratch $tool.Name $tool.Value }
    $uptime = Get-Field $State 'uptime' $null
    if ($null -ne $uptime) { [IO.File]::WriteAllText("$Scratch.uptime", [string]$uptime) }
}
function New-Machine([string]$Scratch, $Before) {
    [void][IO.Directory]::CreateDirectory((Join-Path $Scratch 'ProgramData'))
    if (-not $script:onWindows) {
        foreach ($kind in 'registry', 'services') { [IO.File]::WriteAllText("$Scratch.$kind", '{}') }
        Set-Tool $Scratch 'reg.exe' $script:regTool
    }
    Set-State $Scratch $Before
}
# On Windows: HKEY_LOCAL_MACHINE of a case is a scratch key of the user who runs this.
function Get-RealName([string]$Key) { return "$($script:scratchKey)\" + ($Key -replace '^HKEY_LOCAL_MACHINE\\', '') }
function Set-RealKey($Key) {
    $kinds = @{ 'string' = 'String'; 'expand-string' = 'ExpandString'; 'dword' = 'DWord'; 'qword' = 'QWord'; 'multi-string' = 'MultiString'; 'binary' = 'Binary' }
    $real = [Microsoft.Win32.Registry]::CurrentUser.CreateSubKey((Get-RealName $Key.Name))
    foreach ($entry in @($Key.Value.PSObject.Properties)) {
        $name = $entry.Name
        if ($name -eq '(default)') { $name = '' }
        if ($null -eq $entry.Value) {
            $real.DeleteValue($name, $false)
            continue
        }
        $one = ConvertTo-Entry $entry.Value
        $texts = @($one.data | ForEach-Object { $_.Substring(1) })
        $value = [string]($texts -join '')
        if ($one.type -eq 'dword') { $value = [BitConverter]::ToInt32([BitConverter]::GetBytes([uint32]$texts[0]), 0) }
        if ($one.type -eq 'qword') { $value = [BitConverter]::ToInt64([BitConverter]::GetBytes([uint64]$texts[0]), 0) }
        if ($one.type -eq 'multi-string') { $value = [string[]]$texts }
        if ($one.type -eq 'binary') { $value = [byte[]](ConvertFrom-Hex $texts[0]) }
        $real.SetValue($name, $value, [Microsoft.Win32.RegistryValueKind]$kinds[[string]$one.type])
    }
    $real.Close()
}
function Get-RealLines([string]$Below) {
    $kinds = @{ 'String' = 'string'; 'ExpandString' = 'expand-string'; 'DWord' = 'dword'; 'QWord' = 'qword'; 'MultiString' = 'multi-string'; 'Binary' = 'binary' }
    $real = [Microsoft.Win32.Registry]::CurrentUser.OpenSubKey("$($script:scratchKey)$Below")
    if ($null -eq $real) { return }
    foreach ($name in $real.GetValueNames()) {
        $value = $real.GetValue($name, $null, 'DoNotExpandEnvironmentNames')
        $type = $kinds[[string]$real.GetValueKind($name)]
        if ($type -eq 'dword') { $value = [BitConverter]::ToUInt32([BitConverter]::GetBytes([int]$value), 0) }
        if ($type -eq 'qword') { $value = [BitConverter]::ToUInt64([BitConverter]::GetBytes([long]$value), 0) }
        if ($type -eq 'binary') { $value = [BitConverter]::ToString($value).Replace('-', '') }
        $shown = $name
        if ($name -eq '') { $shown = '(default)' }
        "HKEY_LOCAL_MACHINE$Below $shown=$type " + (@($value | ForEach-Object { "=$_" }) -join ',')
    }
    foreach ($name in $real.GetSubKeyNames()) { Get-RealLines "$Below\$name" }
    $real.Close()
}
function Get-RegistryLines($State) {
    foreach ($key in @($State.PSObject.Properties)) {
        foreach ($entry in @($key.Value.PSObject.Properties)) { "$($key.Name) $($entry.Name)=$($entry.Value.type) " + (@($entry.Value.data) -join ',') }
    }
}
function Get-WantedLines($Registry) {
    foreach ($key in @($Registry.PSObject.Properties)) {
        foreach ($entry in @($key.Value.PSObject.Properties)) {
            $one = ConvertTo-Entry $entry.Value
            "$($key.Name) $($entry.Name)=$($one.type) " + (@($one.data) -join ',')
        }
    }
}
# The temporary folder may be given by a short name (RUNNER~1); what is found in it is named in full.
function Get-Snapshot([string]$Scratch) {
    $top = (Get-Item -LiteralPath $Scratch).FullName
    Get-ChildItem -LiteralPath $Scratch -Recurse -File -Force | Where-Object { $_.FullName -notmatch '[\\/]fleetmend[\\/]|[\\/]System32[\\/][a-z-]+\.exe$' } | ForEach-Object {
        $place = 'C:\' + $_.FullName.Substring($top.Length + 1).Replace('/', '\')
        "$place $(([BitConverter]::ToString([IO.File]::ReadAllBytes($_.FullName))).Replace('-', '')) $($_.LastWriteTimeUtc.ToString('s'))"
    }
}

# --- one step: ask, compare ---------------------------------------------------------------------------------------------------------
function Convert-Playbook([string]$Scratch, [string]$Json) {
    if (-not $script:onWindows) { return $Json }
    $folder = $Scratch.Replace('\', '\\') + '\\'
    $key = ('HKEY_CURRENT_USER\' + $script:scratchKey + '\').Replace('\', '\\')
    return $Json.Replace('"C:\\', '"' + $folder).Replace('"HKEY_LOCAL_MACHINE\\', '"' + $key)
}
function Invoke-Agent([string]$Scratch, $Test, $Step) {
    $request = @{ run = (Get-Field $Step 'run' 'r-1'); nonce = 'n-1'; mode = $Step.mode; root = (Get-Field $Test 'root' ''); playbook = $Test.playbook }
    $json = Convert-Playbook $Scratch (ConvertTo-Json -InputObject $request -Depth 20 -Compress)
    $json = [regex]::Replace($json, '[^\x20-\x7e]', { param($m) '\u{0:x4}' -f [int][char]$m.Value })
    $parts = @([regex]::Matches($json, '.{1,400}') | ForEach-Object { $_.Value })
    $lines = @("fleetmend/1 $($script:agent.Count) $($parts.Count)") + $script:agent + $parts + @('fleetmend/end')
    $prelude = $script:standIns.Replace('@SCRATCH@', $Scratch)
    if ($script:onWindows) { $prelude = "`$env:ProgramData = '$(Join-Path $Scratch 'ProgramData')'`n" }
    if ($script:LanguageMode -eq 'Constrained') { $prelude += "`$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'`n" }
    $command = [Convert]::ToBase64String([Text.Encoding]::Unicode.GetBytes($prelude + $script:bootstrap))
    $output = @($lines | & $script:shell -NoLogo -NoProfile -NonInteractive -EncodedCommand $command)
    $script:exitCode = $LASTEXITCODE
    $text = -join ($output | ForEach-Object { if ($_ -match '^@@fm n-1 \d+/\d+ (.*)\|$') { $Matches[1] } })
    if ($text -eq '') { throw "no result: $($output -join ' / ')" }
    $result = Read-Json $text
    if ($script:onWindows) { $result.message = $result.message.Replace("$Scratch\", 'C:\').Replace("HKEY_CURRENT_USER\$($script:scratchKey)\", 'HKEY_LOCAL_MACHINE\') }
    return $result
}
function Compare-Lines([string]$What, $Seen, $Wanted) {
    $one = @($Seen | Sort-Object) -join "`n"
    $two = @($Wanted | Sort-Object) -join "`n"
    # By their characters: -eq ignores a soft hyphen, for example.
    if ($one.ToUpperInvariant().Equals($two.ToUpperInvariant())) { return '' }
    return "$What`n$one`nnot`n$two"
}
function Compare-Step([string]$Scratch, $Step, $Result) {
    foreach ($wanted in $Step.expect.PSObject.Properties) {
        $seen = [string]$Result.($wanted.Name)
        if (-not $seen.Equals([string]$wanted.Value)) { return "$($wanted.Name) is '$seen', not '$($wanted.Value)' ($($Result.message))" }
    }
    if (($script:exitCode -eq 0) -ne ($Result.outcome -ne 'failed')) { return "exit code $($script:exitCode) with $($Result.outcome)" }
    if ($null -ne $Step.PSObject.Properties['files']) {
        $wanted = @(@($Step.files) | ForEach-Object { "$($_.path) $($_.hex.ToUpperInvariant()) $(([DateTime]$_.modified).ToUniversalTime().ToString('s'))" })
        $problem = Compare-Lines 'files are' @(Get-Snapshot $Scratch) $wanted
        if ($problem -ne '') { return $problem }
    }
    $registry = Get-Field $Step 'registry' $null
    if ($null -ne $registry) {
        if ($script:onWindows) { $seen = @(Get-RealLines '') } else { $seen = @(Get-RegistryLines (Get-RegistryState $Scratch)) }
        $problem = Compare-Lines 'registry is' $seen @(Get-WantedLines $registry)
        if ($problem -ne '') { return $problem }
    }
    if ($script:onWindows) { return '' }
    $services = ConvertFrom-Json -InputObject ([IO.File]::ReadAllText("$Scratch.services"))
    foreach ($service in @(Get-Properties $Step 'services')) {
        $state = [string](Get-Field $services $service.Name 'absent')
        if ($state -ne $service.Value) { return "service $($service.Name) is $state, not $($service.Value)" }
    }
    foreach ($element in @(Get-Properties $Step 'bcd')) {
        $line = [string]@([IO.File]::ReadAllLines("$Scratch.bcd") | Where-Object { $_ -like "$($element.Name) *" } | Select-Object -First 1)
        $state = ($line -replace '^\S+ ?', '')
        if ($state -ne $element.Value) { return "bcd $($element.Name) is '$state', not '$($element.Value)'" }
    }
    if ($null -ne $Step.PSObject.Properties['called']) {
        $seen = @()
        if (Test-Path -LiteralPath "$Scratch.called") { $seen = @([IO.File]::ReadAllLines("$Scratch.called")) }
        if (($seen -join '|') -ne (@($Step.called) -join '|')) { return "called $($seen -join ' | ')" }
    }
    return ''
}
# Why a case is not run here: what only a stand-in may do is skipped on Windows, and what needs Windows is skipped off it.
function Get-SkipReason($Test) {
    $skip = Get-Field $Test 'skip' $null
    if (-not $script:onWindows) { return [string](Get-Field $skip 'elsewhere' '') }
    $given = [string](Get-Field $skip 'windows' '')
    if ($given -ne '') { return $given }
    $json = ConvertTo-Json -InputObject $Test -Depth 20 -Compress
    if ($json -match '"(tools|bcd)":') { return 'it would need the real boot configuration or tools' }
    if ($json -match '"(services|service|driver)":') { return 'it would need real services' }
    if ($json -match '"(os|uptime)":') { return 'it needs another build or uptime than this machine has' }
    if ($json -match '"reboot":"(always|if-fixed)"') { return 'it would restart this machine' }
    if ($json -match '"(file|no-file)":"%') { return 'it would need files outside the scratch folder' }
    if ($json -match '"root":"') { return 'an offline root cannot be mapped into the scratch folder' }
    return ''
}
function Invoke-Case($Test) {
    $scratch = Join-Path ([IO.Path]::GetTempPath()) ('fleetmend-' + [Guid]::NewGuid().ToString('N'))
    $number = 0
    try {
        New-Machine $scratch (Get-Field $Test 'before' $null)
        foreach ($step in @($Test.steps)) {
            $number++
            $change = Get-Field $step 'change' $null
            if ($null -ne $change) { Set-State $scratch $change }
            $result = Invoke-Agent $scratch $Test $step
            $problem = Compare-Step $scratch $step $result
            if ($problem -ne '') { return "step $number, $($step.mode): $problem" }
        }
        return ''
    }
    catch { return "step $($number): $($_.Exception.Message) (line $($_.InvocationInfo.ScriptLineNumber))" }
    finally {
        Remove-Item -Path "$scratch*" -Recurse -Force -ErrorAction SilentlyContinue
        if ($script:onWindows) { [Microsoft.Win32.Registry]::CurrentUser.DeleteSubKeyTree($script:scratchKey, $false) }
    }
}

$failed = 0
$passed = 0
foreach ($file in @(Get-ChildItem -LiteralPath $Path -Filter '*.json' | Where-Object { $_.BaseName -like $Case } | Sort-Object Name)) {
    $test = Read-Json ([IO.File]::ReadAllText($file.FullName))
    $reason = Get-SkipReason $test
    if ($reason -ne '') {
        Write-Output "skip $($file.BaseName): $reason"
        continue
    }
    $problem = Invoke-Case $test
    if ($problem -eq '') {
        $passed++
        Write-Output "ok   $($file.BaseName)"
    }
    else {
        $failed++
        Write-Output "FAIL $($file.BaseName): $problem"
    }
}
Write-Output "$passed passed, $failed failed"
exit $failed
