# --- the agent itself -----------------------------------------------------------------------------------------------------------------
# Where our folder is, that is where a fix has acted, this text stays under its hash, so that later requests need not carry it: kept.ps1
# proves and runs it. What only looks makes no folder. Nothing depends on it: where it cannot be kept, the answer says so and that is all.
function Save-Agent {
    $top = $script:Data.TrimEnd('\') + '\fleetmend'
    if ($script:Root -cne '' -or -not (Test-There $top)) { return }
    if ($FleetmendText -cne '') {
        Assert-Own $top
        $folder = $top + '\agent'
        # Another request may make it just now.
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
# As kept.ps1 looks at it.
function Test-Agent([string]$Place) {
    $item = Get-There $Place
    if ($item.PSIsContainer -or ([int]$item.Attributes -band 1024) -ne 0) { return $false }
    try {
        Assert-OwnRights $Place
        return (Get-Sha256 $Place) -eq $FleetmendAgent
    }
    catch { return $false }
}
# Written aside and read back. Of two requests at once the second finds that the first was quicker.
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
# The newest two stay. What a cut has left half written goes a day later.
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
# The result lines.
function Get-ResultLines {
    $json = ConvertTo-Ascii (ConvertTo-Json -InputObject $script:Result -Depth 6 -Compress)
    $chunks = @([regex]::Matches($json, '.{1,48}') | ForEach-Object { $_.Value })
    $index = 0
    foreach ($chunk in $chunks) {
        $index++
        "@@fm $($script:Nonce) $index/$($chunks.Count) $chunk|"
    }
}
# Some ways back carry few bytes: what is told least goes first, and the result says that something went.
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
    # A text of our own says enough; for all else the line helps.
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
