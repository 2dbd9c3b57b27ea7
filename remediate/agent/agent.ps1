# fleetmend agent: does what one playbook says on this Windows. One static text, the playbook is data: nothing of it is ever run as code
# except the bodies of its script steps. Windows PowerShell 5.1 and PowerShell 7, Full and Constrained Language Mode: cmdlets and core types
# only. ASCII only. remediate/windows holds the same rules in Go; the cases in remediate/testdata/conformance hold both to each other.
# In:  $FleetmendEnvelope, JSON text: {run, nonce, mode: detect|fix|verify|undo, root, playbook, record, room};
#      $FleetmendAgent, the SHA-256 of this text in hex; $FleetmendText, this text, or '' where it is kept on the machine already
# Out: lines "@@fm NONCE I/N CHUNK|" that join to the result's JSON; exit code 1 when the outcome is failed, else 0.
# Texts are compared and folded by their characters, never by the rules of a language: no -match, LastIndexOf or StartsWith with a text.
# Keeps everything it needs to take a fix back in %ProgramData%\fleetmend\runs\RUN (see remediate/windows/record.go).
# Assembled from remediate/agent/source of the project, where the reasons stand.
Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

function Get-Field($Object, [string]$Name, $Default) {
    $property = $Object.PSObject.Properties[$Name]
    if ($null -eq $property -or $null -eq $property.Value) { return $Default }
    return $property.Value
}
function Get-List($Object, [string]$Name) {
    $property = $Object.PSObject.Properties[$Name]
    if ($null -eq $property -or $null -eq $property.Value) { return }
    foreach ($element in @($property.Value)) { $element }
}
function Test-Field($Object, [string]$Name) {
    $property = $Object.PSObject.Properties[$Name]
    return ($null -ne $property) -and ($null -ne $property.Value)
}
function Read-Json([string]$Text) {
    if ($script:HasDateKind) { return (ConvertFrom-Json -InputObject $Text -DateKind String) }
    return (ConvertFrom-Json -InputObject $Text)
}
$script:Half = '[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]'
function Assert-Whole($Entry) {
    $old = @()
    if ($null -ne $Entry['old']) { $old = @($Entry['old'].data) }
    foreach ($text in @($Entry.Values) + $old) {
        if ([regex]::IsMatch([string]$text, $script:Half)) { throw "$($Entry['target']) holds half a character, which no record can hold: it is not changed" }
    }
}
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
function Protect-Text($Texts) {
    foreach ($text in @($Texts)) { '=' + [string]$text }
}
function Unprotect-Text($Texts) {
    foreach ($text in @($Texts)) { ([string]$text).Substring(1) }
}
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
function Get-SystemVariable([string]$Name) {
    if ($script:Root -ne '') {
        $known = @{
            'systemdrive' = 'C:'; 'systemroot' = 'C:\Windows'; 'windir' = 'C:\Windows'; 'programdata' = 'C:\ProgramData'
            'allusersprofile' = 'C:\ProgramData'; 'programfiles' = 'C:\Program Files'; 'programw6432' = 'C:\Program Files'
            'programfiles(x86)' = 'C:\Program Files (x86)'; 'public' = 'C:\Users\Public'
        }
        return [string]$known[$Name.ToLowerInvariant()]
    }
    $item = Get-Item -LiteralPath "Env:$Name" -ErrorAction SilentlyContinue
    if ($null -eq $item) { return '' }
    return [string]$item.Value
}
function Expand-Path([string]$Path) {
    $full = $Path
    foreach ($name in @([regex]::Matches($Path, '%([^%]+)%') | ForEach-Object { $_.Groups[1].Value })) {
        $text = Get-SystemVariable $name
        if ($text -eq '' -or $text.Contains('%')) { throw "unknown variable in path '$Path'" }
        $full = $full.Replace("%$name%", $text)
    }
    if (Test-Pattern $full '(^|[\\/])\.\.([\\/]|$)') { throw "path climbs: '$Path'" }
    if (-not (Test-Pattern $Path '^([A-Z]:\\.|%[^%]+%)') -or -not (Test-Pattern $full '^([A-Z]:\\.|/)')) { throw "not a full path: '$Path'" }
    if ($script:Root -ne '') {
        if (-not (Test-Pattern $full '^C:\\')) { throw "path outside C: '$Path'" }
        return $full
    }
    $drive = Get-SystemVariable 'SystemDrive'
    if ((Test-Pattern $drive '^[ABD-Z]:\z') -and (Test-Pattern $full '^C:\\(Windows|Program Files|Program Files \(x86\)|ProgramData|Users)\\')) {
        return $drive + $full.Substring(2)
    }
    return $full
}
function Resolve-Place([string]$Full) {
    if ($script:Root -eq '') { return $Full }
    return $script:Root.TrimEnd('\') + '\' + $Full.Substring(3)
}
function Get-Folder([string]$Full) {
    $folder = $Full.Substring(0, $Full.LastIndexOf([char]'\'))
    if ($folder.Length -eq 2) { return $folder + '\' }
    return $folder
}
function Get-There([string]$Place) { return (Get-Item -LiteralPath $Place -Force -ErrorAction SilentlyContinue) }
function Test-There([string]$Place) { return $null -ne (Get-There $Place) }
function Test-Link($Item) { return ([int]$Item.Attributes -band 1024) -ne 0 -and ($Item.PSIsContainer -or [string]$Item.LinkType -ceq 'SymbolicLink') }
function Assert-NoLink([string]$Place) {
    $item = Get-There $Place
    if ($null -ne $item -and (Test-Link $item)) { throw "$Place is a link: nothing is done through it" }
    $folder = $Place
    while ($true) {
        $at = $folder.LastIndexOf([char]'\')
        if ($at -le 2) { return }
        $folder = $folder.Substring(0, $at)
        $item = Get-There $folder
        if ($null -ne $item -and ([int]$item.Attributes -band 1024) -ne 0) { throw "$folder is a link: nothing is done through it" }
    }
}
function Expand-Pattern([string]$Path) {
    $full = Expand-Path $Path
    if ($full.Substring(0, $full.LastIndexOf([char]'\')) -cmatch '[*?]') { throw "wildcards only in the last part: '$Path'" }
    return $full
}
function Find-File($Test, [string]$Path) {
    $full = Expand-Pattern $Path
    $at = $full.LastIndexOf([char]'\')
    $folder = $full.Substring(0, $at)
    $wanted = '^' + [regex]::Escape($full.Substring($at + 1).ToUpperInvariant()).Replace('\*', '.*').Replace('\?', '.') + '\z'
    $place = Get-Folder (Resolve-Place $full)
    if (-not (Test-Path -LiteralPath $place -PathType Container)) { return }
    foreach ($entry in @(Get-ChildItem -LiteralPath $place -Force)) {
        if ($entry.PSIsContainer -or (Test-Link $entry)) { continue }
        if (-not [regex]::IsMatch($entry.Name.ToUpperInvariant(), $wanted, 'CultureInvariant, Singleline')) { continue }
        $file = New-Object PSObject -Property @{
            Path = $folder + '\' + $entry.Name; Place = $place.TrimEnd('\') + '\' + $entry.Name; Size = $entry.Length; Written = $entry.LastWriteTimeUtc
        }
        if (Test-File $Test $file) { $file }
    }
}
function Get-Header([string]$Place, [int]$Count) {
    if ($PSVersionTable.PSVersion.Major -ge 6) { $bytes = Get-Content -LiteralPath $Place -AsByteStream -TotalCount $Count }
    else { $bytes = Get-Content -LiteralPath $Place -Encoding Byte -TotalCount $Count }
    return -join (@($bytes) | ForEach-Object { '{0:X2}' -f $_ })
}
function Get-Sha256([string]$Place) {
    return [string](Get-FileHash -LiteralPath $Place -Algorithm SHA256).Hash
}
function Test-File($Test, $File) {
    $window = Get-Field $Test 'modified' $null
    if ($null -ne $window) {
        $after = Get-Field $window 'after' $null
        $before = Get-Field $window 'before' $null
        if ($null -ne $after -and $File.Written -lt (ConvertTo-Utc $after)) { return $false }
        if ($null -ne $before -and $File.Written -ge (ConvertTo-Utc $before)) { return $false }
    }
    $header = [string](Get-Field $Test 'header' '')
    if ($header -ne '') {
        $count = [int]($header.Length / 2)
        if ($File.Size -lt $count) { return $false }
        if ((Get-Header $File.Place $count) -ne $header) { return $false }
    }
    $sha256 = [string](Get-Field $Test 'sha256' '')
    if ($sha256 -ne '' -and (Get-Sha256 $File.Place) -ne $sha256) { return $false }
    $version = Get-Field $Test 'version' $null
    return $null -eq $version -or (Test-Version $File.Place $version)
}
function Test-Version([string]$Place, $Range) {
    $info = (Get-ItemProperty -LiteralPath $Place -Name VersionInfo).VersionInfo
    if ($null -eq $info) { return $false }
    $now = @([int]$info.FileMajorPart, [int]$info.FileMinorPart, [int]$info.FileBuildPart, [int]$info.FilePrivatePart)
    if (($now -join '.') -ceq '0.0.0.0') { return $false }
    $least = [string](Get-Field $Range 'min' '')
    $most = [string](Get-Field $Range 'max' '')
    return ($least -ceq '' -or (Compare-Version $now $least) -ge 0) -and ($most -ceq '' -or (Compare-Version $now $most) -le 0)
}
function Compare-Version($Now, [string]$Limit) {
    if ($Limit -cnotmatch '^[0-9]{1,5}(\.[0-9]{1,5}){3}\z') { throw "'$Limit' is no version of four numbers" }
    $numbers = @($Limit.Split([char]'.') | ForEach-Object { [int]$_ })
    for ($i = 0; $i -lt 4; $i++) { if ($Now[$i] -ne $numbers[$i]) { return ($Now[$i] - $numbers[$i]) } }
    return 0
}
function Invoke-Native([string]$Name, [string[]]$Arguments) {
    Assert-Online $Name
    return (Invoke-Running $Name $Arguments)
}
function Invoke-Running([string]$Name, [string[]]$Arguments) {
    $tool = Join-Path (Join-Path $env:SystemRoot 'System32') $Name
    if (-not (Test-Path -LiteralPath $tool)) { throw "no tool $Name" }
    $aside = Get-Aside
    try {
        $process = Start-Process -FilePath $tool -ArgumentList (Join-Arguments $Arguments) -PassThru -NoNewWindow -RedirectStandardOutput "$aside.out" -RedirectStandardError "$aside.err"
        $inTime = Wait-End $process 60 $aside
        $output = @([regex]::Split(([string]((Read-Output "$aside.out" $true) + (Read-Output "$aside.err" $true))).TrimEnd("`r", "`n"), "\r?\n"))
        if (-not $inTime) { throw "$Name $($Arguments -join ' ') did not end within a minute and was stopped: $($output -join ' ')" }
        if ($null -eq $process.ExitCode) { throw "$Name $($Arguments -join ' ') ended, and its exit code cannot be told: $($output -join ' ')" }
        return @{ code = [int]$process.ExitCode; output = $output }
    }
    finally { foreach ($end in '.out', '.err') { Remove-Item -LiteralPath "$aside$end" -Force -ErrorAction SilentlyContinue } }
}
function Get-Aside { return $env:SystemRoot.TrimEnd('\') + '\fleetmend-' + [guid]::NewGuid().ToString('N') }
function Join-Arguments([string[]]$Arguments) {
    $words = foreach ($one in $Arguments) {
        if ($one -cmatch '^[^\s"]+\z') { $one }
        else { '"' + [regex]::Replace([regex]::Replace($one, '(\\*)"', '$1$1\"'), '(\\+)\z', '$1$1') + '"' }
    }
    return (@($words) -join ' ')
}
function Wait-End($Process, [int]$Seconds, [string]$Stem) {
    $null = $Process.Handle
    $inTime = $false
    $script:Flooded = $false
    for ($left = $Seconds; $left -gt 0 -and -not $inTime -and -not $script:Flooded; $left -= 2) {
        $slice = 2
        if ($left -lt 2) { $slice = $left }
        try {
            Wait-Process -Id $Process.Id -Timeout $slice -ErrorAction Stop
            $inTime = $true
        }
        catch { $inTime = [bool]$Process.HasExited }
        foreach ($end in '.out', '.err') {
            $item = Get-There "$Stem$end"
            if ($null -ne $item -and $item.Length -gt 67108864) { $script:Flooded = $true }
        }
    }
    if (-not $inTime) {
        Stop-Tree $Process.Id
        Wait-Process -Id $Process.Id -Timeout 10 -ErrorAction SilentlyContinue
    }
    return $inTime
}
function Invoke-Tool([string]$Name, [string[]]$Arguments) {
    $ran = Invoke-Native $Name $Arguments
    if ($ran.code -ne 0) { throw "$Name $($Arguments -join ' ') ended with $($ran.code): $($ran.output -join ' ')" }
    return $ran.output
}
function Get-RegistryValue([string]$Key, [string]$Name) {
    Assert-Online 'registry'
    if ($Key.Contains('/')) { return (Get-ToolValue $Key $Name) }
    if (-not (Test-Path -LiteralPath "Registry::$Key")) { return $null }
    $shown = $Name
    if ($Name -ceq '') { $shown = '(default)' }
    try { $all = Get-ItemProperty -LiteralPath "Registry::$Key" -Name $shown }
    catch {
        $text = $_.Exception.Message
        if ([string]$_.FullyQualifiedErrorId -clike '*PSArgumentException*' -or $text -clike "Property $([WildcardPattern]::Escape($shown)) does not exist*") { return $null }
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
function Get-ComparedData([string]$Key, [string]$Name) {
    $value = Get-RegistryValue $Key $Name
    if ($null -eq $value -or [string]$value.type -cne 'text') { return $value }
    try { return (Get-TextOfType $Key $Name $value) } catch { return $value }
}
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
function Get-ValueKind([string]$Key, [string]$Name) {
    if ($script:Result.language -cne 'FullLanguage') { return '' }
    try { return [string](Get-Item -LiteralPath "Registry::$Key").GetValueKind($Name) } catch { return '' }
}
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
    $ended = $texts[0].Split([char]0)
    return ($Wanted -is [string]) -and (Test-Text $Wanted $ended[0])
}
$script:ServicesKey = 'HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services'
function Get-StartNumber([string]$Start) {
    $number = @{ boot = 0; system = 1; auto = 2; manual = 3; disabled = 4 }[$Start]
    if ($null -eq $number -or -not $Start.Equals($Start.ToLowerInvariant())) { throw "unknown start type '$Start'" }
    return $number
}
function Get-State([string]$Name) {
    $service = Get-Service -Name ([WildcardPattern]::Escape($Name)) -ErrorAction SilentlyContinue
    if ($null -eq $service) { return '' }
    return [string]$service.Status
}
function Wait-State([string]$Name, [string]$Wanted) {
    for ($i = 0; $i -lt 120; $i++) {
        if ((Get-State $Name).Equals($Wanted)) { return }
        Start-Sleep -Milliseconds 250
    }
    throw "service '$Name' is $(Get-State $Name), not $Wanted, after half a minute"
}
function Test-Start([string]$Name, $Condition, [bool]$IsService) {
    Assert-Online 'registry'
    $key = "$($script:ServicesKey)\$Name"
    $there = [bool](Test-Path -LiteralPath "Registry::$key")
    $present = Get-Field $Condition 'present' $null
    $start = [string](Get-Field $Condition 'start' '')
    $state = [string](Get-Field $Condition 'state' '')
    if ($null -ne $present -and [bool]$present -ne $there) { return $false }
    if (-not $there) { return ($null -ne $present) -and ($start -eq '') -and ($state -eq '') }
    if ($start -ne '') {
        $number = Get-StartNumber $start
        $now = Get-RegistryData $key 'Start'
        if ($null -eq $now -or $now.data[0] -ne "=$number") { return $false }
    }
    if ($state -eq '') { return $true }
    if (-not $IsService) { throw 'a driver has no state' }
    if ($state -cne 'running' -and $state -cne 'stopped') { throw "unknown state '$state'" }
    return (Get-State $Name).Equals(@{ running = 'Running'; stopped = 'Stopped' }[$state])
}
function Read-BootEntry {
    $current = Invoke-Native 'bcdedit.exe' @('/enum', '{current}', '/v')
    if ($current.code -eq 0 -and @($current.output | Where-Object { [regex]::IsMatch($_, '\S\s+\{[^{}]+\}\s*\z') }).Count -gt 0) { return @{ entry = '{current}'; lines = $current.output } }
    $default = Invoke-Native 'bcdedit.exe' @('/enum', '{default}', '/v')
    $drive = Get-SystemVariable 'SystemDrive'
    if ($drive -ceq '') { $drive = 'C:' }
    if ($default.code -eq 0 -and @($default.output | Where-Object { Test-Pattern $_ ('^device\s+partition=' + [regex]::Escape($drive) + '\s*\z') }).Count -gt 0) {
        return @{ entry = '{default}'; lines = $default.output }
    }
    $script:Unread = $true
    throw "the boot configuration could not be read: bcdedit.exe /enum {current} /v ended with $($current.code): $($current.output -join ' ')"
}
function Find-Element($Entry, [string]$Name) {
    $wanted = '^' + [regex]::Escape($Name) + '\s+(.+?)\s*$'
    foreach ($line in $Entry.lines) {
        $found = [regex]::Match($line, $wanted, 'IgnoreCase, CultureInvariant')
        if ($found.Success) { return $found.Groups[1].Value }
    }
    return $null
}
function Get-ElementWord([string]$Value) {
    $word = @{ 'YES' = 'ON'; 'TRUE' = 'ON'; 'NO' = 'OFF'; 'FALSE' = 'OFF' }[$Value.ToUpperInvariant()]
    if ($null -ne $word) { return $word }
    return $Value.ToUpperInvariant()
}
function Test-Element([string]$One, [string]$Two) {
    $first = Get-ElementWord $One
    $second = Get-ElementWord $Two
    if ($first -ceq 'ON' -or $first -ceq 'OFF') { $second = $second.Replace('1', 'ON').Replace('0', 'OFF') }
    return $first.Equals($second)
}
function Test-OsCondition($Condition) {
    $script:Words = 'os'
    Assert-Online 'os'
    $os = $Condition.os
    $version = Get-ItemProperty -LiteralPath 'Registry::HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
    $build = [int](Get-Field $version 'CurrentBuildNumber' '0')
    if ($build -eq 0) { throw 'the build number is unknown' }
    $revision = Get-Field $version 'UBR' 0
    if ($revision -isnot [int]) { $revision = 0 }
    $least = [int](Get-Field $os 'min-build' 0)
    $most = [int](Get-Field $os 'max-build' 0)
    $lowest = [int](Get-Field $os 'min-revision' 0)
    $highest = [int](Get-Field $os 'max-revision' 0)
    if ($build -lt $least -or ($build -eq $least -and $revision -lt $lowest)) { return $false }
    return $most -eq 0 -or $build -lt $most -or ($build -eq $most -and ($highest -eq 0 -or $revision -le $highest))
}
$script:TestKinds = @(
    @('file', 'Test-FileCondition'), @('no-file', 'Test-NoFileCondition'), @('registry', 'Test-RegistryCondition')
    @('registry-key', 'Test-KeyCondition'), @('service', 'Test-ServiceCondition')
    @('driver', 'Test-DriverCondition'), @('bcd', 'Test-BcdCondition'), @('os', 'Test-OsCondition'), @('script', 'Test-ScriptCondition')
)
function Test-FileCondition($Condition) {
    $script:Words = "file $($Condition.file)"
    return @(Find-File $Condition ([string]$Condition.file)).Count -gt 0
}
function Test-NoFileCondition($Condition) {
    $script:Words = "no-file $($Condition.'no-file')"
    return @(Find-File $Condition ([string]$Condition.'no-file')).Count -eq 0
}
function Test-RegistryCondition($Condition) {
    $name = [string](Get-Field $Condition 'name' '')
    $script:Words = "registry $($Condition.registry) $name"
    $now = Get-ComparedData ([string]$Condition.registry) $name
    if (Test-Field $Condition 'equals') { return ($null -ne $now) -and (Test-Equal $now $Condition.equals) }
    return ($null -ne $now) -eq [bool](Get-Field $Condition 'present' $true)
}
function Test-KeyCondition($Condition) {
    $key = [string]$Condition.'registry-key'
    $script:Words = "registry-key $key"
    Assert-Online 'registry'
    Assert-NoSlash $key
    return [bool](Test-Path -LiteralPath "Registry::$key") -eq [bool](Get-Field $Condition 'present' $true)
}
function Test-ServiceCondition($Condition) {
    $script:Words = "service $($Condition.service)"
    return (Test-Start ([string]$Condition.service) $Condition $true)
}
function Test-DriverCondition($Condition) {
    $script:Words = "driver $($Condition.driver)"
    return (Test-Start ([string]$Condition.driver) $Condition $false)
}
function Test-BcdCondition($Condition) {
    $script:Words = "bcd $($Condition.bcd)"
    $now = Find-Element (Read-BootEntry) ([string]$Condition.bcd)
    if (Test-Field $Condition 'equals') { return ($null -ne $now) -and (Test-Element $now ([string]$Condition.equals)) }
    return ($null -ne $now) -eq [bool](Get-Field $Condition 'present' $true)
}
function Test-ScriptCondition($Condition) {
    $script:Words = 'script'
    $body = $Condition.script
    $ran = Invoke-Script ([string]$body.shell) ([string]$body.body) @(Get-List $body 'args') ([int](Get-Field $body 'timeout' 0))
    if ($ran.code -eq (Get-ExitNumber (Get-Field $Condition 'exit-code' 0))) { return $true }
    $others = @(Get-List $Condition 'other-codes' | ForEach-Object { Get-ExitNumber $_ })
    if ($others.Count -gt 0 -and $others -notcontains $ran.code) { throw "script ended with $($ran.code), which says neither yes nor no: $($ran.output)" }
    return $false
}
function Get-ExitNumber($Code) {
    if ([long]$Code -gt 2147483647) { return [int]([long]$Code - 4294967296) }
    return [int]$Code
}
function Test-Condition($Condition) {
    foreach ($row in $script:TestKinds) {
        $what = Get-Field $Condition $row[0] $null
        if ($null -ne $what -and -not ($what -is [string] -and $what -eq '')) { return (& $row[1] $Condition) }
    }
    throw 'unknown condition'
}
function Test-All($Playbook, [string]$Name) {
    foreach ($condition in @(Get-List $Playbook $Name)) { if (-not (Test-Condition $condition)) { return $false } }
    return $true
}
$script:Starter = @'
$stem = $PSCommandPath.Substring(0, $PSCommandPath.Length - 8)
$list = @(ConvertFrom-Json -InputObject (Get-Content -LiteralPath "$stem.json" -Raw -Encoding UTF8) | ForEach-Object { $_ } | ForEach-Object { ([string]$_).Substring(1) })
$global:LASTEXITCODE = -77077
& "$stem.ps1" @list
$good = $?
$how = 'end 0'
if (-not $good) { $how = 'never'; if ($global:LASTEXITCODE -ne -77077) { $how = "end $global:LASTEXITCODE" } }
Set-Content -LiteralPath "$stem.end" -Value $how -Encoding Ascii
'@
$script:CmdStarter = "@echo off`r`nif not exist `"@stem@.cmd`" exit /b 1`r`ncall `"@stem@.cmd`"`r`n>`"@stem@.end`" echo end %errorlevel%`r`n"
function Write-Script([string]$Path, [string]$Text, [string]$Encoding) {
    Set-Content -LiteralPath $Path -Value $Text -Encoding $Encoding
    $read = [string](Get-Content -LiteralPath $Path -Raw -Encoding $Encoding)
    if (-not $read.TrimEnd("`r", "`n").Equals($Text.TrimEnd("`r", "`n"))) { throw 'the script could not be written whole: is the disk full?' }
}
function Assert-Cmd([string]$Body, $List) {
    if ($Body -cmatch '[^\x00-\x7f]') { throw 'a cmd script can hold ASCII letters only: cmd.exe would read others in another code page; use shell powershell' }
    foreach ($text in @($List)) {
        if ([string]$text -cmatch '[&|<>^%"!\r\n]') { throw "cmd.exe would read the argument '$text' as code: it may not hold & | < > ^ % `" ! or a new line" }
    }
}
function Assert-Script([string]$Shell, [string]$Body, $List) {
    if ($Shell -cne 'powershell' -and $Shell -cne 'cmd') { throw "unknown shell '$Shell'" }
    Assert-Online 'script'
    if ($Shell -ceq 'cmd') {
        Assert-Cmd $Body $List
        return
    }
    foreach ($scope in 'MachinePolicy', 'UserPolicy') {
        $policy = [string](Get-ExecutionPolicy -Scope $scope)
        if ($policy -ceq 'AllSigned' -or $policy -ceq 'Restricted') { throw "a policy of this machine ($scope) lets no script run that is not signed: the execution policy is $policy" }
    }
    Assert-Language $Body
}
$script:FullOnly = '\[(?!(?:System\.)?(?:string|char|bool(?:ean)?|s?byte|u?(?:short|int|long)(?:16|32|64)?|single|float|double|decimal|bigint|guid|datetime|timespan|version|semver|uri|xml|regex|array|hashtable|psobject|pscustomobject|cultureinfo|ipaddress|mailaddress|wildcardpattern|securestring|pscredential)\])[a-z][\w.]*\]::\w+\(|\bAdd-Type\b|\bNew-Object\s+-Com|^\s*(?:class|enum)\s+\w+\s*[:{]'
function Assert-Language([string]$Body) {
    if ($script:Result.language -ceq 'FullLanguage' -or $Body.Contains('LanguageMode')) { return }
    $found = [regex]::Match($Body, $script:FullOnly, 'IgnoreCase, CultureInvariant, Multiline')
    if (-not $found.Success) { return }
    if ($script:ScriptMode -ceq '') { $script:ScriptMode = (Invoke-Script 'powershell' '[string]$ExecutionContext.SessionState.LanguageMode' @() 60).output }
    if ($script:ScriptMode -cne 'FullLanguage') { throw "scripts run in $($script:ScriptMode) here, which refuses '$($found.Value.Trim())': write the script without it, or allow it by policy" }
}
function Get-Tree([int]$Id) {
    $Id
    foreach ($process in @(Get-Process -ErrorAction SilentlyContinue)) {
        $below = 0
        try { if ($process.Id -ne $PID -and $process.Parent.Id -eq $Id) { $below = $process.Id } } catch { $below = 0 }
        if ($below -ne 0) { Get-Tree $below }
    }
}
function Stop-Tree([int]$Id) {
    $tool = Join-Path (Join-Path $env:SystemRoot 'System32') 'taskkill.exe'
    if (Test-Path -LiteralPath $tool) {
        $killer = Start-Process -FilePath $tool -ArgumentList "/F /T /PID $Id" -PassThru -NoNewWindow
        Wait-Process -Id $killer.Id -Timeout 10 -ErrorAction SilentlyContinue
    }
    else { foreach ($one in @(Get-Tree $Id)) { Stop-Process -Id $one -Force -ErrorAction SilentlyContinue } }
    Stop-Process -Id $Id -Force -ErrorAction SilentlyContinue
}
function Invoke-Script([string]$Shell, [string]$Body, $List, [int]$Seconds) {
    Assert-Script $Shell $Body $List
    $isCmd = $Shell -ceq 'cmd'
    if ($Seconds -le 0) { $Seconds = 300 }
    $place = $script:Folder
    $moment = ''
    if (-not (Confirm-Folder)) {
        $place = Get-Aside
        New-Closed $place
        $moment = $place
    }
    $stem = Join-Path (Get-Item -LiteralPath $place -Force).FullName ('script-' + [guid]::NewGuid().ToString('N'))
    $ends = '.ps1', '.json', '.run.ps1', '.cmd', '.run.cmd', '.end', '.out', '.err'
    $names = @()
    try {
        if ($isCmd) {
            $program = Join-Path (Join-Path $env:SystemRoot 'System32') 'cmd.exe'
            $arguments = '/d /c ""' + $stem + '.run.cmd""'
            Write-Script "$stem.cmd" ("@echo off`r`n" + $Body.Replace("`r`n", "`n").Replace("`n", "`r`n")) 'Ascii'
            Write-Script "$stem.run.cmd" $script:CmdStarter.Replace('@stem@', $stem) 'Oem'
            $number = 0
            foreach ($text in @($List)) {
                $number++
                $names += "FLEETMEND_ARG$number"
                Set-Item -LiteralPath "Env:FLEETMEND_ARG$number" -Value ([string]$text)
            }
        }
        else {
            $program = (Get-Process -Id $PID).Path
            $arguments = '-NoLogo -NoProfile -NonInteractive '
            if ([string]$env:OS -ceq 'Windows_NT') { $arguments += '-ExecutionPolicy Bypass ' }
            $arguments += '-File "' + $stem + '.run.ps1"'
            Write-Script "$stem.ps1" $Body 'UTF8'
            Write-Script "$stem.json" (ConvertTo-Json -InputObject @(Protect-Text $List) -Compress) 'UTF8'
            Write-Script "$stem.run.ps1" $script:Starter 'UTF8'
        }
        $process = Start-Process -FilePath $program -ArgumentList $arguments -PassThru -NoNewWindow -RedirectStandardOutput "$stem.out" -RedirectStandardError "$stem.err"
        $inTime = Wait-End $process $Seconds $stem
        $both = (Read-Output "$stem.out" $isCmd) + (Read-Output "$stem.err" $isCmd)
        $output = (Limit-Text (Get-Clean $both)).Trim()
        if (-not $inTime -and $script:Flooded) { throw 'script was stopped: it wrote more than 64 MB of output' }
        if (-not $inTime) { throw "script was stopped after $Seconds seconds: $output" }
        $how = ''
        if (Test-Path -LiteralPath "$stem.end") { $how = ([string](Get-Content -LiteralPath "$stem.end" -Raw)).Trim() }
        $found = [regex]::Match($how, '^end (-?[0-9]{1,10})\z')
        if ($found.Success) { return @{ code = [int]$found.Groups[1].Value; output = $output } }
        if ($isCmd -and (Test-Path -LiteralPath "$stem.cmd")) {
            if ($null -eq $process.ExitCode) { throw "script ended, and its exit code cannot be told: $output" }
            return @{ code = [int]$process.ExitCode; output = $output }
        }
        if ($isCmd -or $how -ceq 'never') { throw "script did not run: $output" }
        throw "script was ended by an error: $output"
    }
    finally {
        foreach ($name in $names) { Remove-Item -LiteralPath "Env:$name" -ErrorAction SilentlyContinue }
        foreach ($end in $ends) { Remove-Item -LiteralPath "$stem$end" -Force -ErrorAction SilentlyContinue }
        if ($moment -cne '') { Remove-Empty $moment }
    }
}
function Read-Output([string]$Path, [bool]$Oem) {
    if (-not (Test-Path -LiteralPath $Path)) { return '' }
    if ((Get-Item -LiteralPath $Path -Force).Length -gt 1048576) { return "($((Get-Item -LiteralPath $Path -Force).Length) bytes of output, which are not shown)`n" }
    if ($Oem -or $PSVersionTable.PSVersion.Major -lt 6) { return [string](Get-Content -LiteralPath $Path -Raw -Encoding Oem) }
    return [string](Get-Content -LiteralPath $Path -Raw)
}
function Get-Sddl([string]$Place) {
    if ($null -eq $script:HasAcl) { $script:HasAcl = $null -ne (Get-Command -Name Get-Acl -ErrorAction SilentlyContinue) }
    if (-not $script:HasAcl) {
        if ([string]$env:OS -ceq 'Windows_NT') { throw "the rights of $Place cannot be read" }
        return ''
    }
    return [string](Get-Acl -LiteralPath $Place).Sddl
}
function Assert-Own([string]$Place) {
    $item = Get-There $Place
    if (([int]$item.Attributes -band 1024) -ne 0) { throw "$Place is a link: refused" }
    if (-not $item.PSIsContainer) { throw "$Place is no folder: refused" }
    Assert-OwnRights $Place
}
function Assert-OwnRights([string]$Place) {
    $sddl = Get-Sddl $Place
    if ($sddl -ceq '') { return }
    $parts = [regex]::Match($sddl, '^O:(BA|SY|S-1-5-18|S-1-5-32-544)(G:[A-Z0-9-]+?)?D:[A-Z]*((\([^()]*\))+)(S:.*)?\z')
    if (-not $parts.Success) { throw "$Place belongs to somebody else than SYSTEM and administrators, or its rights are unusual: refused ($sddl)" }
    foreach ($entry in [regex]::Matches($parts.Groups[3].Value, '\(([^()]*)\)')) {
        $fields = $entry.Groups[1].Value.Split(';')
        if ($fields[0] -ceq 'D') { continue }
        if ($fields[0] -cne 'A' -or $fields[5] -cnotmatch '^(BA|SY|S-1-5-18|S-1-5-32-544)\z') { throw "$Place can be used by others than SYSTEM and administrators: refused ($sddl)" }
    }
}
function Get-OwnFolders {
    $top = $script:Data.TrimEnd('\') + '\fleetmend'
    $top
    $top + '\runs'
    $script:Folder
}
function Confirm-Folder {
    foreach ($place in @(Get-OwnFolders)) {
        if (-not (Test-There $place) -or (Test-Leftover $place)) { return $false }
        Assert-Own $place
    }
    return $true
}
function New-OwnFolder([string]$Place) {
    foreach ($outer in '', ($Place + '-' + [guid]::NewGuid().ToString('N'))) {
        $stage = Get-Aside
        $closed = $false
        try {
            if ($outer -cne '') {
                New-Closed $outer
                $stage = "$outer\fleetmend"
            }
            New-Closed $stage
            $closed = $true
            if (-not (Test-There $Place)) { Move-Item -LiteralPath $stage -Destination $Place }
        }
        catch { if (-not $closed -or $outer -cne '') { throw "$Place could not be made: $($_.Exception.Message)" } }
        finally { foreach ($one in $stage, ($Place + $stage.Substring($stage.LastIndexOf([char]'\'))), $outer) { Remove-Empty $one } }
        if (Test-Own $Place) { return }
    }
    throw "$Place could not be made"
}
function New-Closed([string]$Place) {
    [void](New-Item -ItemType Directory -Path $Place)
    if (Test-Path -LiteralPath (Join-Path (Join-Path $env:SystemRoot 'System32') 'icacls.exe')) {
        Set-Rights $Place @('/setowner', '*S-1-5-32-544')
        Set-Rights $Place @('/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F')
    }
    Assert-Own $Place
}
function Set-Rights([string]$Place, [string[]]$Arguments) {
    $ran = Invoke-Running 'icacls.exe' (@((Get-Item -LiteralPath $Place -Force).FullName) + $Arguments + @('/L'))
    if ($ran.code -ne 0) { throw "icacls.exe $($Arguments[0]) ended with $($ran.code): $($ran.output -join ' ')" }
}
function Test-Empty($Item) {
    return $null -ne $Item -and $Item.PSIsContainer -and ([int]$Item.Attributes -band 1024) -eq 0 -and @(Get-ChildItem -LiteralPath $Item.FullName -Force).Count -eq 0
}
function Remove-Empty([string]$Place) {
    if ($Place -ceq '') { return }
    try { if (Test-Empty (Get-There $Place)) { Remove-Item -LiteralPath $Place -Force } } catch { $null = $_ }
}
function Test-Owner([string]$Place) { return (Get-Sddl $Place) -cmatch '^(\z|O:(BA|SY|S-1-5-18|S-1-5-32-544)[GD]:)' }
function Test-Leftover([string]$Place) {
    if (-not (Test-Empty (Get-There $Place)) -or -not (Test-Owner $Place)) { return $false }
    try { Assert-Own $Place } catch { return $true }
    return $false
}
function Test-Own([string]$Place) {
    if (-not (Test-There $Place)) { return $false }
    if (Test-Leftover $Place) {
        Remove-Item -LiteralPath $Place -Force
        return $false
    }
    Assert-Own $Place
    return $true
}
function New-RunFolder {
    $top, $below = @(Get-OwnFolders)
    if (-not (Test-Own $top)) { New-OwnFolder $top }
    foreach ($place in @($below)) {
        if (-not (Test-There $place)) { [void](New-Item -ItemType Directory -Path $place) }
        if (-not (Test-Owner $place) -and (Test-Empty (Get-There $place))) { Set-Rights $place @('/setowner', '*S-1-5-32-544') }
        Assert-Own $place
    }
    Remove-Aside
}
function Remove-Aside {
    foreach ($item in @(Get-ChildItem -LiteralPath $env:SystemRoot -Filter 'fleetmend-*' -Force -ErrorAction SilentlyContinue)) {
        if ($item.Name -cnotmatch '^fleetmend-[0-9a-f]{32}(\.out|\.err)?\z' -or ([DateTime]::UtcNow - $item.LastWriteTimeUtc).TotalDays -lt 1) { continue }
        if (([int]$item.Attributes -band 1024) -eq 0) { Remove-Item -LiteralPath $item.FullName -Recurse -Force -ErrorAction SilentlyContinue }
    }
}
function Get-RecordPlace([string]$Name) { return $script:Folder + '\' + $Name }
function Test-Record([string]$Name) { return (Test-There (Get-RecordPlace $Name)) }
function Write-Record([string]$Name, $Value) {
    $aside = Get-RecordPlace "$Name.new"
    $json = ConvertTo-Ascii (ConvertTo-Json -InputObject $Value -Depth 8 -Compress)
    $whole = $false
    try {
        Set-Content -LiteralPath $aside -Value $json -Encoding UTF8
        $whole = ([string](Get-Content -LiteralPath $aside -Raw -Encoding UTF8)).TrimEnd("`r", "`n").Equals($json)
    }
    catch { $whole = $false }
    if (-not $whole) {
        Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue
        throw "the record $Name could not be written whole: is the disk full?"
    }
    Rename-Item -LiteralPath $aside -NewName $Name
}
function Read-Record([string]$Name, [string]$Field) {
    $value = $null
    try { $value = Read-Json ([string](Get-Content -LiteralPath (Get-RecordPlace $Name) -Raw -Encoding UTF8)) } catch { $value = $null }
    if ($null -eq $value -or -not (Test-Field $value $Field)) { Stop-Damaged "a record is damaged: $Name" }
    return $value
}
function Stop-Damaged([string]$Text) {
    $script:Damaged = $true
    throw $Text
}
function Get-UndoName([int]$Number) { return 'undo-{0:d4}.json' -f $Number }
function Get-Numbered {
    $total = 0
    foreach ($entry in @(Get-ChildItem -LiteralPath $script:Folder -Force)) {
        $found = [regex]::Match($entry.Name, '^(undo|done|undone|kept|taken|seal)-([0-9]{4,9})(\.json|-([0-9a-f]{64}))?\z')
        if (-not $found.Success) { continue }
        $number = [int]$found.Groups[2].Value
        if ($found.Groups[4].Success) { $script:Seals[$number] = $found.Groups[4].Value }
        if ($number -ge $total) { $total = $number + 1 }
    }
    return $total
}
function Read-Change([int]$Number) {
    $name = Get-UndoName $Number
    if (-not (Test-Record $name)) { Stop-Damaged "a record is gone: $name" }
    $entry = Read-Record $name 'action'
    $known = $script:ChangeKinds | Where-Object { $_[0] -ceq [string]$entry.action }
    if ($null -ne $known -and $script:Seals.ContainsKey($Number) -and (Get-Sha256 (Get-RecordPlace $name)) -ne $script:Seals[$Number]) { Stop-Damaged "a record is damaged: $name" }
    return $entry
}
function Get-Total {
    $total = Get-Numbered
    if (Test-Record 'fix.json') {
        $count = [int](Get-Field (Read-Record 'fix.json' 'outcome') 'records' 0)
        if ($count -gt $total) { $total = $count }
    }
    return $total
}
function Get-RecordHash($Names) {
    $lines = ''
    foreach ($name in @($Names)) {
        if (-not (Test-Record $name)) { return '' }
        $lines += $name + "`n" + (Get-Sha256 (Get-RecordPlace $name)).ToLowerInvariant() + "`n"
    }
    $aside = Get-RecordPlace 'records.new'
    try {
        Set-Content -LiteralPath $aside -Value $lines -Encoding Ascii -NoNewline
        if ((Get-Item -LiteralPath $aside -Force).Length -ne $lines.Length) { return '' }
        return (Get-Sha256 $aside).ToLowerInvariant()
    }
    catch { return '' }
    finally { Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue }
}
function Get-RecordNames([int]$Total) {
    'manifest.json'
    for ($i = 0; $i -lt $Total; $i++) { Get-UndoName $i }
}
function Assert-Records([string]$Wanted, [int]$Total) {
    $names = @(Get-RecordNames $Total)
    foreach ($name in $names) { if (-not (Test-Record $name)) { throw "a record is gone: $name; nothing was taken back" } }
    if ((Get-RecordHash $names).Equals($Wanted)) { return }
    for ($i = $names.Count - 1; $i -gt 0 -and $i -ge $names.Count - 16; $i--) {
        if ((Get-RecordHash @($names[0..($i - 1)])).Equals($Wanted)) { throw "$($names[$i]) is not of this run: the fix reported no such record; nothing was taken back" }
    }
    throw "the records of this run ($($names[0]) to $($names[$names.Count - 1])) are not those that the fix reported; nothing was taken back"
}
function Add-Record($Entry) {
    Assert-Whole $Entry
    $Entry['step'] = $script:Step
    $name = Get-UndoName $script:Records
    Write-Record $name $Entry
    [void](New-Item -ItemType File -Path (Get-RecordPlace ('seal-{0:d4}-{1}' -f $script:Records, (Get-Sha256 (Get-RecordPlace $name)).ToLowerInvariant())))
    $script:Records++
    Add-Count $script:Step ([string]$Entry.target)
}
function Add-Count($Number, [string]$Target) { $script:Counted["$Number|" + $Target.ToUpperInvariant()] = $Number }
function Get-Started([int]$Id) {
    $process = Get-Process -Id $Id -ErrorAction SilentlyContinue
    if ($null -eq $process) { return -1 }
    try { return [long](($process.StartTime.ToUniversalTime() - [DateTime]'1970-01-01').TotalSeconds) } catch { return 0 }
}
function Test-Stale($Lock) {
    $host_ = [string](Get-Field $Lock 'host' '')
    $id = [int](Get-Field $Lock 'pid' 0)
    if (-not $host_.Equals([Environment]::MachineName)) { return (Get-UnixTime) - [long](Get-Field $Lock 'taken' (Get-Field $Lock 'renewed' 0)) -gt 120 }
    if ($id -eq $PID -and ([string](Get-Field $Lock 'nonce' '')).Equals($script:Nonce)) { return $true }
    $started = Get-Started $id
    if ($started -lt 0) { return $true }
    $apart = $started - [long](Get-Field $Lock 'started' 0)
    return $started -ne 0 -and ($apart -gt 2 -or $apart -lt -2)
}
function Get-Held {
    $script:StaleLock = ''
    $place = Get-RecordPlace 'lock.json'
    $item = Get-There $place
    if ($null -eq $item) { return $null }
    $text = ''
    $lock = $null
    try {
        $text = [string](Get-Content -LiteralPath $place -Raw -Encoding UTF8)
        $lock = Read-Json $text
    }
    catch { $lock = $null }
    if ($null -eq $lock -or -not (Test-Field $lock 'nonce')) {
        if (-not (Test-There $place)) { return $null }
        if (([DateTime]::UtcNow - $item.LastWriteTimeUtc).TotalSeconds -gt 120) {
            $script:StaleLock = "$text`n"
            return $null
        }
        return (New-Object PSObject -Property @{ nonce = ''; pid = 0 })
    }
    if (Test-Stale $lock) {
        $script:StaleLock = "$text`n"
        return $null
    }
    return $lock
}
function Clear-Stale([string]$Place, [string]$Old) {
    try { Move-Item -LiteralPath $Place -Destination $Old } catch { return }
    if (([string](Get-Content -LiteralPath $Old -Raw -Encoding UTF8) + "`n").Equals($script:StaleLock)) { return }
    Move-Item -LiteralPath $Old -Destination $Place
}
function Set-Busy($Lock) {
    $script:Result.outcome = 'busy'
    $script:Result.message = "another request of this run is at work on this machine (process $($Lock.pid))"
}
function Enter-Lock {
    if ($script:Locked) { return $true }
    $held = Get-Held
    $place = Get-RecordPlace 'lock.json'
    $mine = Get-RecordPlace ('lock-' + [guid]::NewGuid().ToString('N'))
    if ($null -eq $held) {
        if ($script:StaleLock -cne '') { Clear-Stale $place "$mine.old" }
        $boot = -1
        if ([long]$script:Result.uptime -ge 0) { $boot = (Get-UnixTime) - [long]$script:Result.uptime }
        Set-Content -LiteralPath "$mine.new" -Encoding UTF8 -Value (ConvertTo-Json -Compress -InputObject @{
                v = 1; nonce = $script:Nonce; by = $script:Result.ps; host = [Environment]::MachineName; boot = $boot; pid = $PID
                started = (Get-Started $PID); taken = (Get-UnixTime)
            })
        $made = $false
        try {
            Move-Item -LiteralPath "$mine.new" -Destination $place
            $made = $true
        }
        catch { $null = $_ }
        foreach ($end in '.new', '.old') { Remove-Item -LiteralPath "$mine$end" -Force -ErrorAction SilentlyContinue }
        $lock = $null
        try { $lock = Read-Json ([string](Get-Content -LiteralPath $place -Raw -Encoding UTF8)) } catch { $lock = $null }
        if ($null -ne $lock -and [int](Get-Field $lock 'pid' 0) -eq $PID -and ([string](Get-Field $lock 'nonce' '')).Equals($script:Nonce)) {
            $script:Locked = $true
            return $true
        }
        $held = $lock
        if ($null -eq $held -and $made) { Remove-Item -LiteralPath $place -Force -ErrorAction SilentlyContinue }
        if ($null -eq $held) { throw 'the lock of this run could not be written: is the disk full?' }
    }
    Set-Busy $held
    return $false
}
function Exit-Lock {
    if ($script:Locked) { Remove-Item -LiteralPath (Get-RecordPlace 'lock.json') -Force -ErrorAction SilentlyContinue }
    $script:Locked = $false
}
function Get-Rights([string]$Sddl) {
    return [regex]::Replace($Sddl, '^(O:[A-Z0-9-]+?)?(G:[A-Z0-9-]+?)?D:(P?)[A-Z]*', '$1D:$3')
}
function Restore-Rights([string]$Place, [string]$Sddl) {
    if ($Sddl -ceq '' -or (Get-Rights (Get-Sddl $Place)).Equals((Get-Rights $Sddl))) { return }
    $list = [regex]::Match($Sddl, 'D:.*\z').Value
    $owner = [regex]::Match($Sddl, '^O:(BA|SY|S-1-[0-9-]+)').Groups[1].Value
    $owner = $owner.Replace('BA', 'S-1-5-32-544').Replace('SY', 'S-1-5-18')
    $item = Get-Item -LiteralPath $Place -Force
    $saved = Get-RecordPlace 'rights.new'
    try {
        Set-Content -LiteralPath $saved -Encoding Unicode -Value @($item.Name, $list)
        Set-Rights $item.DirectoryName @('/restore', (Get-Item -LiteralPath $saved -Force).FullName)
        if ($owner -cne '') { Set-Rights $Place @('/setowner', "*$owner") }
    }
    finally { Remove-Item -LiteralPath $saved -Force -ErrorAction SilentlyContinue }
    if (-not (Get-Rights (Get-Sddl $Place)).Equals((Get-Rights $Sddl))) { $script:Remarks += "the rights of $Place are not those that it had" }
}
function Reset-Rights([string]$Place) {
    if ((Get-Sddl $Place) -ceq '') { return }
    Set-Rights $Place @('/reset')
}
function Add-Marks($Entry, [string]$Place) {
    $Entry['sddl'] = Get-Sddl $Place
    $Entry['marks'] = [int](Get-There $Place).Attributes -band 7
}
function Restore-Marks($Entry, [string]$Place) {
    if ([string](Get-Field $Entry 'kept' '') -ceq '') {
        Reset-Rights $Place
        return
    }
    Restore-Rights $Place ([string](Get-Field $Entry 'sddl' ''))
    $marks = [int](Get-Field $Entry 'marks' -1)
    if ($marks -ge 0 -and [string]$env:OS -ceq 'Windows_NT' -and ([int](Get-There $Place).Attributes -band 7) -ne $marks) { Set-ItemProperty -LiteralPath $Place -Name Attributes -Value ($marks -bor 32) }
}
function Set-Void($Entry) {
    $script:Counted.Remove("$($script:Step)|" + ([string]$Entry['target']).ToUpperInvariant())
    Write-Record ('undone-{0:d4}.json' -f ($script:Records - 1)) @{ changed = $false; void = $true }
}
function Move-Kept($Entry, [string]$Place) {
    Assert-NoLink $Place
    $kept = Get-RecordPlace ([string]$Entry['kept'])
    try { Move-Item -LiteralPath $Place -Destination $kept }
    catch {
        if ((Test-There $Place) -and -not (Test-There $kept)) { Set-Void $Entry }
        throw
    }
    if ((Get-HashThere $kept).Equals([string]$Entry['sha256'])) { return }
    Move-Item -LiteralPath $kept -Destination $Place
    Set-Void $Entry
    throw "$($Entry['path']) was changed while it was moved away: it is back in its place"
}
function Invoke-Quarantine($Step, $Done) {
    $Done.target = [string]$Step.file
    foreach ($file in @(Find-File $Step ([string]$Step.file))) {
        Assert-NoLink $file.Place
        $entry = @{ action = 'quarantine'; target = $file.Path; path = $file.Path; kept = ('kept-{0:d4}' -f $script:Records); sha256 = (Get-Sha256 $file.Place) }
        Add-Marks $entry $file.Place
        Add-Record $entry
        Move-Kept $entry $file.Place
        if (Test-There $file.Place) { throw "$($file.Path) is still there after it was moved" }
    }
}
function Assert-Put($Step) {
    $path = Expand-Path ([string]$Step.file)
    if ([string]$Step.file -cmatch '[*?]') { throw "no wildcards here: '$($Step.file)'" }
    if ([string](Get-Field $Step 'hex' '') -cnotmatch '^([0-9A-Fa-f]{2})*\z') { throw "content of '$($Step.file)' is no hex" }
    $drive = $path.Substring(0, 2).ToUpperInvariant()
    if ($script:Root -ceq '' -and $drive -cmatch '^[ABD-Z]:' -and -not (Test-Path -LiteralPath "$drive\")) { throw "there is no drive $drive here: '$path'" }
}
function Invoke-Put($Step, $Done) {
    $Done.target = [string]$Step.file
    Assert-Put $Step
    $path = Expand-Path ([string]$Step.file)
    $hex = [string](Get-Field $Step 'hex' '')
    $place = Resolve-Place $path
    Assert-NoLink $place
    $entry = @{ action = 'put'; target = $path; path = $path; newsha256 = ([string]$Step.sha256).ToUpperInvariant() }
    $item = Get-There $place
    if ($null -ne $item) {
        if ($item.PSIsContainer) { throw "$path is a folder" }
        $entry['sha256'] = Get-Sha256 $place
        if ($entry['sha256'].Equals($entry['newsha256'])) {
            $before = $script:Puts[$path.ToUpperInvariant()]
            if ($null -ne $before) { Restore-Marks $before $place }
            return
        }
        $entry['kept'] = 'kept-{0:d4}' -f $script:Records
        Add-Marks $entry $place
    }
    else { $entry['made'] = @(Get-Missing $path) }
    $aside = Get-RecordPlace ('put-{0:d4}' -f $script:Records)
    Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue
    if ($hex -ceq '') { [void](New-Item -ItemType File -Path $aside -Force) }
    elseif ($PSVersionTable.PSVersion.Major -ge 6) { Set-Content -LiteralPath $aside -Value ([byte[]]@(ConvertFrom-Hex $hex)) -AsByteStream }
    else { Set-Content -LiteralPath $aside -Value ([byte[]]@(ConvertFrom-Hex $hex)) -Encoding Byte }
    if (-not (Get-Sha256 $aside).Equals($entry.newsha256)) {
        Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue
        throw "content of '$($Step.file)' does not have the hash it should"
    }
    Add-Record $entry
    if ($entry.ContainsKey('kept')) { Move-Kept $entry $place }
    Assert-NoLink $place
    Move-ToPlace $aside $place
    if (-not (Get-HashThere $place).Equals($entry['newsha256'])) { throw "$path is not what was put there" }
    Restore-Marks (New-Object PSObject -Property $entry) $place
}
function Get-Missing([string]$Path) {
    $missing = @()
    $folder = Get-Folder $Path
    while ($folder.Length -gt 3 -and -not (Test-There (Resolve-Place $folder))) {
        $missing = @($folder) + $missing
        if ($folder.LastIndexOf([char]'\') -lt 2) { break }
        $folder = Get-Folder $folder
    }
    $missing
}
function Move-ToPlace([string]$From, [string]$Place) {
    $folder = Get-Folder $Place
    if (-not (Test-Path -LiteralPath $folder -PathType Container)) { [void](New-Item -ItemType Directory -Path $folder -Force) }
    Move-Item -LiteralPath $From -Destination $Place
}
function Update-Registry([string]$Key, [string]$Name, $Wanted) {
    Assert-NoSlash $Key
    $old = Get-RegistryData $Key $Name
    if (Test-Same $old $Wanted) { return }
    Add-Record @{ action = 'registry'; target = "$Key $Name"; key = $Key; name = $Name; old = $old; new = $Wanted }
    Set-RegistryData $Key $Name $Wanted
}
function Invoke-RegistryChange($Step, $Done) {
    $key = [string]$Step.key
    $name = [string](Get-Field $Step 'name' '')
    $Done.target = "$key $name"
    Assert-Online 'registry'
    Assert-NoSlash $key
    $own = [regex]::Match($key, '^HKEY_LOCAL_MACHINE\\SYSTEM\\(?:CurrentControlSet|ControlSet[0-9]{3})\\Services\\([^\\]+)\z', 'IgnoreCase, CultureInvariant')
    $vital = $own.Success -and (Test-Text $name 'Start')
    if ([bool](Get-Field $Step 'delete' $false)) {
        if ($vital) { Assert-NotVital $own.Groups[1].Value $key 4 }
        Update-Registry $key $name $null
        return
    }
    $data = New-RegistryData $Step
    if ($vital) {
        $number = 4
        if ([string]$data.type -ceq 'dword') { $number = [long]@(Unprotect-Text $data.data)[0] }
        Assert-NotVital $own.Groups[1].Value $key $number
    }
    if (-not (Test-Path -LiteralPath "Registry::$key")) { throw "no key $key" }
    Update-Registry $key $name $data
}
function Invoke-KeyChange($Step, $Done) {
    $key = [string]$Step.key
    $Done.target = $key
    Assert-Online 'registry'
    Assert-NoSlash $key
    $missing = @()
    for ($at = $key; -not (Test-Path -LiteralPath "Registry::$at"); $at = $at.Substring(0, $at.LastIndexOf([char]'\'))) {
        if ($at.Split([char]'\').Count -lt 3) { throw "no key $at" }
        $missing = @($at) + $missing
    }
    foreach ($one in $missing) {
        Add-Record @{ action = 'made-key'; target = $one; key = $one }
        [void](New-Item -Path "Registry::$one")
    }
}
function Invoke-ServiceChange($Step, $Done) { Invoke-StartChange $Step $Done 'service' }
function Invoke-DriverChange($Step, $Done) { Invoke-StartChange $Step $Done 'driver' }
$script:VitalGroups = 'SCSI MINIPORT', 'SCSI CLASS', 'PRIMARY DISK', 'SYSTEM BUS EXTENDER', 'BOOT BUS EXTENDER', 'BOOT FILE SYSTEM'
$script:VitalClasses = '4d36e967-e325-11ce-bfc1-08002be10318', '71a27cdd-812a-11d0-bec7-08002be2092f', '4d36e96b-e325-11ce-bfc1-08002be10318',
'4d36e96f-e325-11ce-bfc1-08002be10318', '4d36e96a-e325-11ce-bfc1-08002be10318', '4d36e97b-e325-11ce-bfc1-08002be10318',
'4d36e97d-e325-11ce-bfc1-08002be10318', '745a17a0-74d3-11d0-b6fe-00a0c90f57da', '36fc9e60-c465-11cf-8056-444553540000'
function Assert-NotVital([string]$Name, [string]$Key, [long]$Number) {
    if ($Number -lt 2) { return }
    $start = Get-RegistryValue $Key 'Start'
    $group = Get-RegistryValue $Key 'Group'
    if ($null -ne $start -and $null -ne $group -and $start.data[0] -ceq '=0' -and $script:VitalGroups -ccontains $group.data[0].Substring(1).ToUpperInvariant()) {
        throw "this Windows starts from driver '$Name' (group $($group.data[0].Substring(1))): its start type is not changed"
    }
    if ($Number -ne 4) { return }
    foreach ($class in $script:VitalClasses) {
        foreach ($list in 'UpperFilters', 'LowerFilters') {
            $value = Get-RegistryValue "HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Class\{$class}" $list
            if ($null -eq $value) { continue }
            foreach ($text in @(Unprotect-Text $value.data)) {
                if (Test-Text $text $Name) { throw "driver '$Name' stands in $list of the device class {$class}: without it those devices do not start; take it out of the list first" }
            }
        }
    }
}
function Set-StartType([string]$Name, [string]$Key, $Data, [bool]$IsService) {
    if (-not $IsService) {
        Set-RegistryData $Key 'Start' $Data
        return
    }
    $begun = Write-Start $Name $Key $Data @()
    Set-ServiceStart $Key $begun $Data
    Remove-Start
}
function Write-Start([string]$Name, [string]$Key, $Data, $Between) {
    Complete-Start
    $seen = @($Data.data) + @($Between)
    $now = Get-RegistryData $Key 'Start'
    if ($null -ne $now) { $seen += $now.data }
    $begun = @{ name = $Name; wanted = $Data; seen = $seen; delayed = (Get-RegistryData $Key 'DelayedAutostart') }
    Write-Record 'start.json' $begun
    return (New-Object PSObject -Property $begun)
}
function Set-ServiceStart([string]$Key, $Begun, $Data) {
    $name = [string]$Begun.name
    $word = @{ '=2' = 'Automatic'; '=3' = 'Manual'; '=4' = 'Disabled' }[[string]@($Data.data)[0]]
    if ($null -ne $word -and (Get-State $name) -cne '' -and $null -ne (Get-Command -Name Set-Service -ErrorAction SilentlyContinue)) {
        try { Set-Service -Name $name -StartupType $word } catch { $null = $_ }
        $delayed = Get-Field $Begun 'delayed' $null
        if (-not (Test-Same (Get-RegistryData $Key 'DelayedAutostart') $delayed)) { Set-RegistryData $Key 'DelayedAutostart' $delayed }
    }
    if (-not (Test-Same (Get-RegistryData $Key 'Start') $Data)) { Set-RegistryData $Key 'Start' $Data }
}
function Complete-Start {
    if (-not (Test-Record 'start.json')) { return }
    $begun = Read-Record 'start.json' 'wanted'
    $key = "$($script:ServicesKey)\$($begun.name)"
    $now = Get-RegistryData $key 'Start'
    if ($null -ne $now -and @($begun.seen) -ccontains $now.data[0]) { Set-ServiceStart $key $begun $begun.wanted }
    Remove-Start
}
function Remove-Start { Remove-Item -LiteralPath (Get-RecordPlace 'start.json') -Force -ErrorAction SilentlyContinue }
function Invoke-StartChange($Step, $Done, [string]$What) {
    $Done.target = [string]$Step.name
    $number = Get-StartNumber ([string]$Step.start)
    Assert-Online 'registry'
    $name = [string]$Step.name
    $key = "$($script:ServicesKey)\$name"
    if (-not (Test-Path -LiteralPath "Registry::$key")) { throw "no $What '$name'" }
    $isService = $What -ceq 'service'
    if (-not $isService) { Assert-NotVital $name $key $number }
    $data = @{ type = 'dword'; data = @("=$number") }
    $old = Get-RegistryData $key 'Start'
    if (-not (Test-Same $old $data)) {
        Add-Record @{ action = 'registry'; target = "$key Start"; key = $key; name = 'Start'; old = $old; new = $data; service = $isService }
        Set-StartType $name $key $data $isService
    }
    if (-not $isService -or -not [bool](Get-Field $Step 'stop' $false)) { return }
    foreach ($one in @(Get-Running $name 0)) {
        Add-Record @{ action = 'stop'; target = "$one stopped"; name = $one }
        if ((Get-State $one) -cne 'StopPending') { Stop-Service -Name ([WildcardPattern]::Escape($one)) -Force -NoWait -WarningAction SilentlyContinue }
        Wait-State $one 'Stopped'
    }
}
function Get-Running([string]$Name, [int]$Depth) {
    $service = Get-Service -Name ([WildcardPattern]::Escape($Name)) -ErrorAction SilentlyContinue
    if ($null -eq $service -or [string]$service.Status -ceq 'Stopped' -or $Depth -gt 20) { return }
    foreach ($below in @(Get-List $service 'DependentServices')) { Get-Running ([string]$below.Name) ($Depth + 1) }
    $Name
}
function Invoke-BcdChange($Step, $Done) {
    $delete = [string](Get-Field $Step 'delete' '')
    $name = $delete + [string](Get-Field $Step 'set' '')
    $Done.target = $name
    $value = [string](Get-Field $Step 'value' '')
    Assert-Online 'bcdedit.exe'
    try { $entry = Read-BootEntry }
    catch {
        if ($delete -ceq '' -or -not $script:Unread) { throw }
        $Done.note = Limit-Text $_.Exception.Message
        $script:Remarks += $Done.note
        return
    }
    $now = Find-Element $entry $name
    if ($delete -cne '' -and $null -eq $now) { return }
    if ($delete -ceq '' -and $null -ne $now -and (Test-Element $now $value)) { return }
    if ($delete -ceq '' -and (Test-Text $name 'safeboot') -and (Test-Text $value 'network')) { Register-SafeMode 'WinRM' 0 }
    $old = $null
    $new = $null
    if ($null -ne $now) { $old = @{ type = 'bcd'; data = @("=$now") } }
    if ($delete -ceq '') { $new = @{ type = 'bcd'; data = @("=$value") } }
    Add-Record @{ action = 'bcd'; target = $name; name = $name; old = $old; new = $new; entry = $entry.entry }
    Set-Element $entry.entry $name $new
}
function Set-Element([string]$Entry, [string]$Name, $Data) {
    if ($null -eq $Data) {
        [void](Invoke-Tool 'bcdedit.exe' @('/deletevalue', $Entry, $Name))
        return
    }
    $value = @(Unprotect-Text $Data.data)[0]
    if ((Test-Text $value 'yes') -or (Test-Text $value 'no')) { $value = (Get-ElementWord $value).ToLowerInvariant() }
    [void](Invoke-Tool 'bcdedit.exe' @('/set', $Entry, $Name, $value))
}
function Register-SafeMode([string]$Service, [int]$Depth) {
    $key = "HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\SafeBoot\Network\$Service"
    $own = "$($script:ServicesKey)\$Service"
    if (-not (Test-Path -LiteralPath "Registry::$own")) {
        if ($Depth -gt 0) { return }
        throw "no service '$Service': in safe mode nobody would reach this machine"
    }
    $needs = Get-RegistryValue $own 'DependOnService'
    if ($null -ne $needs -and $Depth -lt 5) { foreach ($one in @(Unprotect-Text $needs.data)) { if ($one -cne '') { Register-SafeMode $one ($Depth + 1) } } }
    if (Test-Path -LiteralPath "Registry::$key") {
        if (-not $script:Counted.ContainsKey("$($script:Step)|" + $key.ToUpperInvariant()) -or $null -ne (Get-RegistryValue $key '')) { return }
    }
    else {
        Add-Record @{ action = 'key'; target = $key; key = $key }
        [void](New-Item -Path "Registry::$key")
    }
    Set-ItemProperty -LiteralPath "Registry::$key" -Name '(default)' -Value 'Service' -Type String
}
function Invoke-ScriptStep($Step, $Done) {
    $Done.target = [string]$Step.shell
    $list = @(Get-List $Step 'args')
    $seconds = [int](Get-Field $Step 'timeout' 0)
    $number = $script:Records
    if ($script:Scripts.ContainsKey($script:Step)) { $number = $script:Scripts[$script:Step] }
    else { Add-Record @{ action = 'script'; target = 'script'; shell = [string]$Step.shell; undo = [string](Get-Field $Step 'undo' ''); args = @(Protect-Text $list); timeout = $seconds } }
    $mark = 'done-{0:d4}.json' -f $number
    if (Test-Record $mark) {
        $Done.note = ([string](Read-Record $mark 'output').output).Substring(1)
        return
    }
    $ran = Invoke-Script ([string]$Step.shell) ([string]$Step.body) $list $seconds
    $Done.note = $ran.output
    $good = @(Get-List $Step 'ok' | ForEach-Object { Get-ExitNumber $_ })
    if ($good.Count -eq 0) { $good = @(0) }
    if ($good -notcontains $ran.code) { throw "script ended with $($ran.code): $($ran.output)" }
    Write-Record $mark @{ code = $ran.code; output = '=' + $ran.output }
}
$script:StepKinds = @(
    @('quarantine', 'Invoke-Quarantine', 'Assert-Quarantine'), @('put', 'Invoke-Put', 'Assert-Put')
    @('registry', 'Invoke-RegistryChange', 'Assert-RegistryChange'), @('registry-key', 'Invoke-KeyChange', 'Assert-KeyChange')
    @('service', 'Invoke-ServiceChange', 'Assert-ServiceChange'), @('driver', 'Invoke-DriverChange', 'Assert-DriverChange')
    @('bcd', 'Invoke-BcdChange', 'Assert-BcdChange'), @('script', 'Invoke-ScriptStep', 'Assert-ScriptStep')
)
function Assert-Quarantine($Step) { [void](Expand-Pattern ([string]$Step.file)) }
function Assert-RegistryChange($Step) {
    Assert-Online 'registry'
    Assert-NoSlash ([string]$Step.key)
    if (-not [bool](Get-Field $Step 'delete' $false)) { [void](New-RegistryData $Step) }
}
function Assert-KeyChange($Step) {
    Assert-Online 'registry'
    Assert-NoSlash ([string]$Step.key)
}
function Assert-ServiceChange($Step) {
    [void](Get-StartNumber ([string]$Step.start))
    Assert-Online 'registry'
}
function Assert-DriverChange($Step) {
    Assert-ServiceChange $Step
    Assert-NotVital ([string]$Step.name) "$($script:ServicesKey)\$($Step.name)" (Get-StartNumber ([string]$Step.start))
}
function Assert-BcdChange($Step) { Assert-Online 'bcdedit.exe' }
function Assert-ScriptStep($Step) {
    $list = @(Get-List $Step 'args')
    foreach ($body in [string]$Step.body, [string](Get-Field $Step 'undo' '')) { Assert-Script ([string]$Step.shell) $body $list }
}
function Assert-Possible($Playbook) {
    foreach ($action in @(Get-List $Playbook 'fix')) {
        $row = @($script:StepKinds | Where-Object { $null -ne (Get-Field $action $_[0] $null) })
        if ($row.Count -eq 0) { throw 'unknown action' }
        & $row[0][2] (Get-Field $action $row[0][0] $null)
    }
}
function Invoke-Action($Action, $Done) {
    foreach ($row in $script:StepKinds) {
        $step = Get-Field $Action $row[0] $null
        if ($null -eq $step) { continue }
        $Done.action = $row[0]
        & $row[1] $step $Done
        return
    }
    throw 'unknown action'
}
function Invoke-Step($Action) {
    $done = @{ action = 'unknown'; target = ''; changed = 0; note = '' }
    try { [void](Invoke-Action $Action $done) }
    finally {
        $done.changed = @($script:Counted.Values | Where-Object { $_ -eq $script:Step }).Count
        $script:Steps += $done
    }
}
function Assert-Kept($Entry) {
    $kept = Get-RecordPlace ([string]$Entry.kept)
    $item = Get-There $kept
    if ($null -eq $item) { Stop-Damaged "the kept copy of $($Entry.path) is gone" }
    if ($item.PSIsContainer -or (Test-Link $item) -or -not (Get-Sha256 $kept).Equals([string]$Entry.sha256)) { Stop-Damaged "the kept copy of $($Entry.path) was changed" }
}
function Get-HashThere([string]$Place) {
    $item = Get-There $Place
    if ($null -eq $item) { return '' }
    if ($item.PSIsContainer -or (Test-Link $item)) { return '-' }
    return (Get-Sha256 $Place)
}
function Restore-Kept($Entry, [string]$Place) {
    Move-ToPlace (Get-RecordPlace ([string]$Entry.kept)) $Place
    if (-not (Get-HashThere $Place).Equals([string]$Entry.sha256)) { throw "$($Entry.path) is not as it was after it was moved back" }
    Restore-Marks $Entry $Place
    return $true
}
function Undo-Quarantine([int]$Number, $Entry) {
    $place = Resolve-Place ([string]$Entry.path)
    Assert-NoLink (Get-FolderPath $place)
    $now = Get-HashThere $place
    if ($now.Equals([string]$Entry.sha256)) {
        Restore-Marks $Entry $place
        return $false
    }
    if ($now -cne '') { throw "will not overwrite $($Entry.path): it came back since" }
    Assert-Kept $Entry
    return (Restore-Kept $Entry $place)
}
function Get-FolderPath([string]$Place) { return $Place.Substring(0, $Place.LastIndexOf([char]'\')) }
function Undo-Put([int]$Number, $Entry) {
    $place = Resolve-Place ([string]$Entry.path)
    Assert-NoLink (Get-FolderPath $place)
    $now = Get-HashThere $place
    $kept = [string](Get-Field $Entry 'kept' '')
    if ($kept -cne '') {
        if ($now.Equals([string]$Entry.sha256)) {
            Restore-Marks $Entry $place
            return $false
        }
        if ($now -cne '' -and -not $now.Equals([string]$Entry.newsha256)) { throw "will not overwrite $($Entry.path): it was changed since" }
        Assert-Kept $Entry
    }
    elseif ($now -cne '' -and -not $now.Equals([string]$Entry.newsha256)) { throw "will not overwrite $($Entry.path): it was changed since" }
    $changed = $now -cne ''
    if ($changed) { Move-Item -LiteralPath $place -Destination (Get-RecordPlace ('taken-{0:d4}' -f $Number)) }
    if ($kept -cne '') { return (Restore-Kept $Entry $place) }
    $made = @(Get-List $Entry 'made')
    for ($i = $made.Count - 1; $i -ge 0; $i--) {
        $folder = Get-There (Resolve-Place ([string]$made[$i]))
        if ($null -eq $folder) { continue }
        if (-not $folder.PSIsContainer -or (Test-Link $folder) -or @(Get-ChildItem -LiteralPath (Resolve-Place ([string]$made[$i])) -Force).Count -gt 0) { break }
        Remove-Item -LiteralPath (Resolve-Place ([string]$made[$i])) -Force
    }
    return $changed
}
function Undo-Registry([int]$Number, $Entry) {
    $key = [string]$Entry.key
    $name = [string](Get-Field $Entry 'name' '')
    $old = Get-Field $Entry 'old' $null
    $now = Get-RegistryData $key $name
    if (Test-Same $now $old) { return $false }
    if (-not (Test-Same $now (Get-Field $Entry 'new' $null))) { throw "will not overwrite $key $($name): it was changed since" }
    if ([bool](Get-Field $Entry 'service' $false) -and $null -ne $old) { Set-StartType $key.Substring($key.LastIndexOf([char]'\') + 1) $key $old $true }
    else { Set-RegistryData $key $name $old }
    if (-not (Test-Same (Get-RegistryData $key $name) $old)) { throw "$key $name is not as it was after it was set back" }
    return $true
}
function Undo-Key([int]$Number, $Entry) {
    $key = [string]$Entry.key
    if (-not (Test-Path -LiteralPath "Registry::$key")) { return $false }
    $now = Get-RegistryValue $key ''
    if ($null -ne $now -and $now.data[0] -cne '=Service') { throw "will not remove $($key): it was changed since" }
    Remove-Item -LiteralPath "Registry::$key"
    return $true
}
function Undo-MadeKey([int]$Number, $Entry) {
    $key = [string]$Entry.key
    if (-not (Test-Path -LiteralPath "Registry::$key")) { return $false }
    $item = Get-Item -LiteralPath "Registry::$key"
    if ([int]$item.ValueCount -gt 0 -or [int]$item.SubKeyCount -gt 0) {
        $script:Remarks += "$key stays: somebody has put more into it"
        return $false
    }
    Remove-Item -LiteralPath "Registry::$key"
    return $true
}
function Undo-Bcd([int]$Number, $Entry) {
    $name = [string]$Entry.name
    $old = Get-Field $Entry 'old' $null
    $new = Get-Field $Entry 'new' $null
    $boot = Read-BootEntry
    $now = Find-Element $boot $name
    if (Test-SameElement $now $old) { return $false }
    if (-not (Test-SameElement $now $new)) { throw "will not overwrite the boot element $($name): it was changed since" }
    Set-Element $boot.entry $name $old
    if (-not (Test-SameElement (Find-Element (Read-BootEntry) $name) $old)) { throw "the boot element $name is not as it was after it was set back" }
    return $true
}
function Test-SameElement($Now, $Data) {
    if ($null -eq $Now -or $null -eq $Data) { return ($null -eq $Now) -and ($null -eq $Data) }
    return (Test-Element ([string]$Now) (@(Unprotect-Text $Data.data)[0]))
}
function Undo-Stop([int]$Number, $Entry) {
    $name = [string]$Entry.name
    if ((Get-State $name) -cne 'Stopped') { return $false }
    $key = "$($script:ServicesKey)\$name"
    $start = Get-RegistryData $key 'Start'
    $off = $null -ne $start -and $start.data[0] -ceq '=4'
    if ($off) {
        $begun = Write-Start $name $key $start @('=3')
        Set-ServiceStart $key $begun @{ type = 'dword'; data = @('=3') }
    }
    try {
        $ran = Invoke-Native 'sc.exe' @('start', $name)
        if ($ran.code -ne 0 -and $ran.code -ne 1056) { throw "service '$name' does not start: sc.exe ended with $($ran.code): $($ran.output -join ' ')" }
    }
    finally {
        if ($off) {
            Set-ServiceStart $key $begun $start
            Remove-Start
        }
    }
    Wait-State $name 'Running'
    return $true
}
function Undo-Script([int]$Number, $Entry) {
    $body = [string](Get-Field $Entry 'undo' '')
    if ($body -ceq '') { return $false }
    $list = @(Unprotect-Text @(Get-List $Entry 'args'))
    $ran = Invoke-Script ([string]$Entry.shell) $body $list ([int](Get-Field $Entry 'timeout' 0))
    if ($ran.code -ne 0) { throw "undo script ended with $($ran.code): $($ran.output)" }
    return $true
}
$script:ChangeKinds = @(
    @('quarantine', 'Undo-Quarantine'), @('put', 'Undo-Put'), @('registry', 'Undo-Registry'), @('key', 'Undo-Key'), @('made-key', 'Undo-MadeKey')
    @('stop', 'Undo-Stop'), @('bcd', 'Undo-Bcd'), @('script', 'Undo-Script')
)
function Undo-Change([int]$Number, $Entry) {
    foreach ($row in $script:ChangeKinds) { if ($row[0] -ceq [string]$Entry.action) { return (& $row[1] $Number $Entry) } }
    throw "unknown record '$($Entry.action)'"
}
function Test-Back($Entry) {
    $place = ''
    if ($null -ne (Get-Field $Entry 'path' $null)) { $place = Resolve-Place ([string]$Entry.path) }
    switch -CaseSensitive ([string]$Entry.action) {
        'quarantine' { return (Get-HashThere $place).Equals([string]$Entry.sha256) }
        'put' {
            if ([string](Get-Field $Entry 'kept' '') -cne '') { return (Get-HashThere $place).Equals([string]$Entry.sha256) }
            return -not (Get-HashThere $place).Equals([string]$Entry.newsha256)
        }
        'registry' { return (Test-Same (Get-RegistryData ([string]$Entry.key) ([string](Get-Field $Entry 'name' ''))) (Get-Field $Entry 'old' $null)) }
        'bcd' { return (Test-SameElement (Find-Element (Read-BootEntry) ([string]$Entry.name)) (Get-Field $Entry 'old' $null)) }
    }
    return $true
}
function Test-Void([int]$Number) {
    $mark = 'undone-{0:d4}.json' -f $Number
    if (-not (Test-Record $mark)) { return $false }
    try { return [bool](Get-Field (Read-Record $mark 'changed') 'void' $false) } catch { return $false }
}
function Get-Lost([int]$Total, $Marked) {
    $seen = @{}
    for ($number = 0; $number -lt $Total; $number++) {
        try { $entry = Read-Change $number } catch { continue }
        if (Test-Void $number) { continue }
        $what = "$($entry.action)|" + ([string]$entry.target).ToUpperInvariant()
        if ($seen.ContainsKey($what)) { continue }
        $seen[$what] = $true
        if (-not $Marked.ContainsKey($number)) { continue }
        if (-not (Test-Back $entry)) { "$($entry.target) was taken back, and is not as it was any more" }
    }
}
function Invoke-Fix($Playbook) {
    if (-not (Test-Record 'manifest.json')) {
        if (-not (Test-All $Playbook 'detect')) {
            $script:Result.outcome = 'clean'
            if (Test-Record 'manifest.json') { Set-Busy (New-Object PSObject -Property @{ pid = 0 }) }
            return
        }
        Assert-Possible $Playbook
        New-RunFolder
        if (-not (Enter-Lock)) { return }
        if (Test-Record 'manifest.json') {
            Set-Busy (New-Object PSObject -Property @{ pid = 0 })
            return
        }
        if ((Get-Total) -gt 0) { throw 'there are records of this run, and no manifest.json: use a new run' }
        Write-Record 'manifest.json' @{
            version = 1; run = $script:Result.run; playbook = [string](Get-Field $Playbook 'playbook' ''); reboot = $script:Policy
            by = $script:Result.ps; time = (Get-UnixTime); uptime = $script:Result.uptime
        }
    }
    elseif (-not $script:Locked) {
        Set-Busy (New-Object PSObject -Property @{ pid = 0 })
        return
    }
    else {
        [void](Read-Record 'manifest.json' 'run')
        if (Test-Record 'undoing.json') { throw 'this run was taken back: use a new run' }
        Complete-Start
        $total = Get-Total
        for (; $script:Records -lt $total; $script:Records++) {
            $entry = Read-Change $script:Records
            if (-not (Test-Void $script:Records)) { Add-Count ([int]$entry.step) ([string]$entry.target) }
            if ([string]$entry.action -ceq 'put') { $script:Puts[([string]$entry.path).ToUpperInvariant()] = $entry }
            if ([string]$entry.action -ceq 'script') { $script:Scripts[[int]$entry.step] = $script:Records }
        }
    }
    $script:Step = 0
    foreach ($action in @(Get-List $Playbook 'fix')) {
        try { Invoke-Step $action }
        catch {
            if (-not [bool](Get-Field $action 'optional' $false)) { throw }
            $done = $script:Steps[$script:Steps.Count - 1]
            $done['failed'] = $true
            $done.note = Limit-Text $_.Exception.Message
            $script:Remarks += "an optional step failed: $($done.action) $($done.target): $($_.Exception.Message)"
        }
        $script:Step++
    }
    $changed = $script:Counted.Count
    $script:Restart = ($script:Policy -ceq 'always') -or ($script:Policy -ceq 'if-fixed' -and $changed -gt 0)
    if (-not (Test-All $Playbook 'verify')) {
        if (-not $script:Restart) { throw "verify does not hold after the fix: $($script:Words)" }
        $script:Remarks += "verify does not hold before the restart: $($script:Words)"
    }
    $script:Result.message = Limit-Text (@($script:Remarks) -join '; ')
    $script:Result.outcome = 'fixed'
    $script:Result.changed = $changed
    $script:Result.steps = $script:Steps
}
function Invoke-Undo([string]$Wanted) {
    $script:Result.outcome = 'undone'
    $total = 0
    $problems = @()
    if (Confirm-Folder) {
        try { $total = Get-Total }
        catch {
            if (-not $script:Damaged) { throw }
            $total = Get-Numbered
            $problems += $_.Exception.Message
        }
    }
    if ($total -eq 0 -and $problems.Count -eq 0 -and -not (Test-Record 'manifest.json')) {
        if ($Wanted -cne '') { Assert-Records $Wanted 0 }
        $script:Result.message = 'this run changed nothing here'
        return
    }
    if (-not $script:Locked) {
        Set-Busy (New-Object PSObject -Property @{ pid = 0 })
        return
    }
    if ($Wanted -cne '') { Assert-Records $Wanted $total }
    $policy = ''
    if (-not (Test-Record 'manifest.json')) { $problems += 'manifest.json is gone' }
    else { try { $policy = [string](Get-Field (Read-Record 'manifest.json' 'run') 'reboot' '') } catch { $problems += $_.Exception.Message } }
    try { Complete-Start } catch { $problems += $_.Exception.Message }
    $continued = Test-Record 'undoing.json'
    if (-not $continued) { Write-Record 'undoing.json' @{ time = (Get-UnixTime) } }
    $stopped = @()
    $marked = @{}
    for ($number = $total - 1; $number -ge 0; $number--) {
        $script:Damaged = $false
        try {
            $entry = Read-Change $number
            if ([string]$entry.action -ceq 'stop') {
                $stopped += $entry
                continue
            }
            $mark = 'undone-{0:d4}.json' -f $number
            $done = $null
            if (Test-Record $mark) {
                try { $done = Read-Record $mark 'changed' }
                catch {
                    if ([string]$entry.action -ceq 'script') { throw }
                    $script:Damaged = $false
                    Remove-Item -LiteralPath (Get-RecordPlace $mark) -Force
                }
            }
            if ($null -ne $done) {
                $changed = [bool]$done.changed
                $marked[$number] = $true
            }
            else {
                $changed = [bool](Undo-Change $number $entry)
                Write-Record $mark @{ changed = $changed }
            }
            if ($changed) { Add-Count $number ([string]$entry.target) }
        }
        catch {
            $stuck = 'stuck-{0:d4}.json' -f $number
            if (-not $script:Damaged -and -not (Test-Record $stuck)) {
                try { Write-Record $stuck @{ time = (Get-UnixTime) } } catch { $null = $_ }
                throw
            }
            $problems += $_.Exception.Message
        }
    }
    foreach ($entry in $stopped) {
        try { if (Undo-Change $total $entry) { Add-Count $total ([string]$entry.name) } } catch { $problems += "$($entry.name): $($_.Exception.Message)" }
    }
    $problems += @(Get-Lost $total $marked)
    $script:Result.changed = $script:Counted.Count
    if ($problems.Count -gt 0) { throw ($problems -join '; ') }
    $script:Result.message = Limit-Text (@($script:Remarks) -join '; ')
    $script:Restart = ($policy -ceq 'always' -or $policy -ceq 'if-fixed') -and ($script:Result.changed -gt 0 -or $continued)
}
function Get-SystemUptime {
    if ($script:Root -ne '') { return -1 }
    if ($null -eq (Get-Command -Name Get-CimInstance -ErrorAction SilentlyContinue)) { return -1 }
    try {
        $system = Get-CimInstance -ClassName Win32_OperatingSystem -OperationTimeoutSec 10
        return [long](($system.LocalDateTime.ToUniversalTime() - $system.LastBootUpTime.ToUniversalTime()).TotalSeconds)
    }
    catch { return -1 }
}
function Test-RestartMissing($Record, [string]$Mark) {
    $uptime = [long]$script:Result.uptime
    $then = [long]$Record.uptime
    if ($uptime -lt 0 -or $then -lt 0) { return -not (Test-Record $Mark) }
    return ($uptime -ge $then) -and ($uptime -ge $then + (Get-UnixTime) - [long]$Record.time - 5)
}
function Request-Restart([string]$Mark) {
    try {
        $ran = Invoke-Native 'shutdown.exe' @('/r', '/t', '10', '/d', 'p:2:4', '/c', "fleetmend $($script:Result.run)")
        if ($ran.code -ne 0 -and $ran.code -ne 1190 -and $ran.code -ne 1115) { throw "shutdown.exe ended with $($ran.code): $($ran.output -join ' ')" }
        $script:Result.reboot = 'scheduled'
    }
    catch {
        $script:Result.message = Limit-Text "restart refused: $($_.Exception.Message)"
        return
    }
    try { if (-not (Test-Record $Mark)) { Write-Record $Mark @{ time = (Get-UnixTime) } } } catch { $null = $_ }
}
function Invoke-Once([string]$Mode, $Playbook, [string]$Wanted) {
    $record = "$Mode.json"
    $mark = "$Mode-restart.json"
    if (Test-Record $record) {
        $old = Read-Record $record 'outcome'
        $script:Result.outcome = [string]$old.outcome
        $script:Result.changed = [int]$old.changed
        $script:Result.message = [string](Get-Field $old 'message' '')
        $script:Result.steps = @(Get-List $old 'steps')
        $script:Result.repeated = $true
        if ($Mode -ceq 'fix' -and (Test-Record 'undoing.json')) {
            $script:Result.message = 'this run was taken back since'
            return
        }
        if ($Mode -ceq 'undo') {
            $marked = @{}
            $total = Get-Total
            for ($i = 0; $i -lt $total; $i++) { $marked[$i] = $true }
            $lost = @(Get-Lost $total $marked)
            if ($lost.Count -gt 0) {
                $script:Result.outcome = 'failed'
                $script:Result.message = Limit-Text ($lost -join '; ')
                return
            }
        }
        if ([bool](Get-Field $old 'restart' $false) -and (Test-RestartMissing $old $mark)) { Request-Restart $mark }
        return
    }
    if ($Mode -ceq 'fix') { Invoke-Fix $Playbook } else { Invoke-Undo $Wanted }
    if ($script:Result.outcome -cne 'fixed' -and $script:Result.outcome -cne 'undone') { return }
    if (Test-Record 'manifest.json') {
        Write-Record $record @{
            run = $script:Result.run; outcome = $script:Result.outcome; changed = $script:Result.changed; message = $script:Result.message
            steps = @($script:Result.steps); restart = $script:Restart; time = (Get-UnixTime); uptime = $script:Result.uptime; records = (Get-Total)
        }
    }
    if ($script:Restart) { Request-Restart $mark }
}
function Invoke-Acting([string]$Mode, $Playbook, [string]$Wanted) {
    if ((Confirm-Folder) -and -not (Enter-Lock)) { return }
    try { Invoke-Once $Mode $Playbook $Wanted }
    finally {
        if ($Mode -ceq 'fix' -and $script:Locked -and (Test-Record 'manifest.json')) {
            $script:Result.record = Get-RecordHash @(Get-RecordNames (Get-Total))
        }
        Exit-Lock
    }
}
function Test-Busy {
    try { if (-not (Confirm-Folder)) { return $false } } catch { return $false }
    $held = Get-Held
    if ($null -eq $held) { return $false }
    Set-Busy $held
    return $true
}
function Invoke-Mode([string]$Mode, $Playbook, [string]$Wanted) {
    if ($Mode -ceq 'detect') {
        if (Test-Busy) { return }
        if (Test-All $Playbook 'detect') { $script:Result.outcome = 'affected' } else { $script:Result.outcome = 'clean' }
        return
    }
    if ($Mode -ceq 'verify') {
        if (Test-Busy) { return }
        if (-not (Test-All $Playbook 'verify')) { throw "verify does not hold: $($script:Words)" }
        $script:Result.outcome = 'fixed'
        return
    }
    if ($Mode -ceq 'fix' -or $Mode -ceq 'undo') {
        Invoke-Acting $Mode $Playbook $Wanted
        return
    }
    throw "unknown mode '$Mode'"
}
function Save-Agent {
    $top = $script:Data.TrimEnd('\') + '\fleetmend'
    if ($script:Root -cne '' -or -not (Test-There $top)) { return }
    if ($FleetmendText -cne '') {
        Assert-Own $top
        $folder = $top + '\agent'
        if (-not (Test-There $folder)) { try { [void](New-Item -ItemType Directory -Path $folder) } catch { if (-not (Test-There $folder)) { throw } } }
        if (-not (Test-Owner $folder) -and (Test-Empty (Get-There $folder))) { Set-Rights $folder @('/setowner', '*S-1-5-32-544') }
        Assert-Own $folder
        $place = $folder + '\' + $FleetmendAgent + '.ps1'
        if ((Test-There $place) -and -not (Test-Agent $place)) {
            try { Remove-Item -LiteralPath $place -Force } catch { if (Test-There $place) { throw "$place stands in its place and cannot be removed" } }
        }
        if (-not (Test-There $place)) { Write-Agent $folder $place }
        Remove-OldAgent $folder
    }
    $script:Result['kept'] = $FleetmendAgent
}
function Test-Agent([string]$Place) {
    $item = Get-There $Place
    if ($item.PSIsContainer -or ([int]$item.Attributes -band 1024) -ne 0) { return $false }
    try {
        Assert-OwnRights $Place
        return (Get-Sha256 $Place) -eq $FleetmendAgent
    }
    catch { return $false }
}
function Write-Agent([string]$Folder, [string]$Place) {
    $aside = $Folder + '\' + [guid]::NewGuid().ToString('N') + '.new'
    try {
        Set-Content -LiteralPath $aside -Value $FleetmendText -Encoding Ascii -NoNewline
        if ((Get-Sha256 $aside) -ne $FleetmendAgent) { throw 'it could not be written whole: is the disk full?' }
        if (-not (Test-Owner $aside)) { Set-Rights $aside @('/setowner', '*S-1-5-32-544') }
        try { Move-Item -LiteralPath $aside -Destination $Place } catch { if (-not (Test-There $Place)) { throw } }
    }
    finally { Remove-Item -LiteralPath $aside -Force -ErrorAction SilentlyContinue }
    if (-not (Test-Agent $Place)) { throw "$Place is not as it was written, or others can change it" }
}
function Remove-OldAgent([string]$Folder) {
    $all = @(Get-ChildItem -LiteralPath $Folder -Force | Where-Object { -not $_.PSIsContainer } | Sort-Object -Property LastWriteTimeUtc -Descending)
    $others = 0
    foreach ($one in $all) {
        if ($one.Name -cmatch '^[0-9a-f]{64}\.ps1\z') {
            if ($one.Name -cne "$FleetmendAgent.ps1") { $others++ }
            if ($one.Name -ceq "$FleetmendAgent.ps1" -or $others -eq 1) { continue }
        }
        elseif ($one.Name -cnotmatch '^[0-9a-f]{32}\.new\z' -or ([DateTime]::UtcNow - $one.LastWriteTimeUtc).TotalHours -lt 24) { continue }
        Remove-Item -LiteralPath ($Folder + '\' + $one.Name) -Force -ErrorAction SilentlyContinue
    }
}
function Get-ResultLines {
    $json = ConvertTo-Ascii (ConvertTo-Json -InputObject $script:Result -Depth 6 -Compress)
    $chunks = @([regex]::Matches($json, '.{1,48}') | ForEach-Object { $_.Value })
    $index = 0
    foreach ($chunk in $chunks) {
        $index++
        "@@fm $($script:Nonce) $index/$($chunks.Count) $chunk|"
    }
}
function Get-Answer([int]$Room) {
    for ($stage = 0; $true; $stage++) {
        $lines = @(Get-ResultLines)
        $size = 2 * $lines.Count
        foreach ($line in $lines) { $size += $line.Length }
        if ($Room -le 0 -or $size -le $Room -or $stage -gt 2) { return $lines }
        $script:Result.clipped = $true
        if ($stage -eq 0) {
            foreach ($done in @($script:Result.steps)) { $done.note = '' }
            $script:Result.Remove('note')
        }
        if ($stage -eq 1) {
            $script:Result.steps = @()
            $script:Result.Remove('kept')
        }
        if ($stage -eq 2 -and $script:Result.message.Length -gt 200) { $script:Result.message = $script:Result.message.Substring(0, 200) }
    }
}

$script:Result = @{
    v = 2; run = ''; outcome = 'failed'; changed = 0; message = ''; repeated = $false; reboot = ''; uptime = -1; steps = @(); record = ''; clipped = $false
    ps = [string]$PSVersionTable.PSVersion; language = [string]$ExecutionContext.SessionState.LanguageMode
}
$script:Root = ''
$script:Data = ''
$script:Words = ''
$script:Policy = ''
$script:ScriptMode = ''
$script:Restart = $false
$script:Damaged = $false
$script:Unread = $false
$script:StaleLock = ''
$script:Flooded = $false
$script:HasAcl = $null
$script:Locked = $false
$script:Step = 0
$script:Records = 0
$script:Steps = @()
$script:Remarks = @()
$script:Scripts = @{}
$script:Puts = @{}
$script:Seals = @{}
$script:Counted = @{}
$script:Nonce = 'none'
$room = 0
try {
    $script:HasDateKind = @((Get-Command -Name ConvertFrom-Json).Parameters.Keys) -contains 'DateKind'
    $request = Read-Json $FleetmendEnvelope
    $script:Nonce = [string]$request.nonce
    if ([string]$request.run -cnotmatch '^[0-9A-Za-z-]{1,64}\z') { throw 'bad run id' }
    $script:Result.run = [string]$request.run
    if ((Get-SystemVariable 'PROCESSOR_ARCHITEW6432') -ne '') { throw 'this is a 32-bit PowerShell on a 64-bit Windows: it sees other system files and another registry; start the 64-bit one' }
    if ($PSVersionTable.PSVersion.Major -lt 5 -or ($PSVersionTable.PSVersion.Major -eq 5 -and $PSVersionTable.PSVersion.Minor -lt 1)) {
        throw "this is PowerShell $($PSVersionTable.PSVersion): Windows PowerShell 5.1 or later is needed (Windows Management Framework 5.1)"
    }
    $room = [int](Get-Field $request 'room' 0)
    $script:Root = [string](Get-Field $request 'root' '')
    $script:Result.uptime = Get-SystemUptime
    $playbook = $request.playbook
    $script:Policy = [string](Get-Field $playbook 'reboot' '')
    if ($script:Root -eq '') { $script:Data = Get-SystemVariable 'ProgramData' } else { $script:Data = $script:Root.TrimEnd('\') + '\ProgramData' }
    if ($script:Data.Trim() -eq '') { throw '%ProgramData% is not set' }
    $script:Folder = $script:Data.TrimEnd('\') + '\fleetmend\runs\' + $script:Result.run
    [void](Invoke-Mode ([string]$request.mode) $playbook ([string](Get-Field $request 'record' '')))
}
catch {
    $text = $_.Exception.Message
    if ([string]$_.FullyQualifiedErrorId -cne $text) { $text = "$text (line $($_.InvocationInfo.ScriptLineNumber))" }
    $script:Result.outcome = 'failed'
    $script:Result.message = Limit-Text $text
    $script:Result.changed = $script:Counted.Count
    $script:Result.steps = $script:Steps
}
try { if ($script:Data -cne '') { [void](Save-Agent) } }
catch { $script:Result['note'] = Limit-Text "the agent was not kept on the machine: $($_.Exception.Message)" }
foreach ($line in @(Get-Answer $room)) { Write-Output $line }
if ($script:Result.outcome -ceq 'failed') { exit 1 }
exit 0
