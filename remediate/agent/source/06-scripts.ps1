# --- script steps -------------------------------------------------------------------------------------------------------------------
# Starts a script file with its arguments as data. A .ps1 gets them as parameters; a .cmd in FLEETMEND_ARG1, FLEETMEND_ARG2, ...
# What became of it is said in a file, because an exit code of 0 is also what a script leaves that PowerShell could not read: "end CODE" where
# it came to its end or said exit, "never" where it did not begin (syntax, #requires, an argument that does not fit, blocked, removed), and
# no file where an error ended it. A program's code in the middle of a script is not the script's.
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
# What cmd.exe would take for code, or could not read: refused before anything is done.
function Assert-Cmd([string]$Body, $List) {
    if ($Body -cmatch '[^\x00-\x7f]') { throw 'a cmd script can hold ASCII letters only: cmd.exe would read others in another code page; use shell powershell' }
    foreach ($text in @($List)) {
        if ([string]$text -cmatch '[&|<>^%"!\r\n]') { throw "cmd.exe would read the argument '$text' as code: it may not hold & | < > ^ % `" ! or a new line" }
    }
}
# What forbids script files to all users or to one (AllSigned, Restricted) no argument of powershell.exe overrules.
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
# In Constrained Language Mode a call that is refused ends its statement and not the script, which goes on half done and may end well. So what
# can be seen to need more is refused ahead: a method of a type that is not one of the core types, Add-Type, a class, COM. Only where scripts
# are constrained, which is asked of one that does nothing else, because policies go by a script's folder as well. A script that asks for its
# mode itself knows what it does.
$script:FullOnly = '\[(?!(?:System\.)?(?:string|char|bool(?:ean)?|s?byte|u?(?:short|int|long)(?:16|32|64)?|single|float|double|decimal|bigint|guid|datetime|timespan|version|semver|uri|xml|regex|array|hashtable|psobject|pscustomobject|cultureinfo|ipaddress|mailaddress|wildcardpattern|securestring|pscredential)\])[a-z][\w.]*\]::\w+\(|\bAdd-Type\b|\bNew-Object\s+-Com|^\s*(?:class|enum)\s+\w+\s*[:{]'
function Assert-Language([string]$Body) {
    if ($script:Result.language -ceq 'FullLanguage' -or $Body.Contains('LanguageMode')) { return }
    $found = [regex]::Match($Body, $script:FullOnly, 'IgnoreCase, CultureInvariant, Multiline')
    if (-not $found.Success) { return }
    if ($script:ScriptMode -ceq '') { $script:ScriptMode = (Invoke-Script 'powershell' '[string]$ExecutionContext.SessionState.LanguageMode' @() 60).output }
    if ($script:ScriptMode -cne 'FullLanguage') { throw "scripts run in $($script:ScriptMode) here, which refuses '$($found.Value.Trim())': write the script without it, or allow it by policy" }
}
# Ends a process and all that it started, from the top: a shell whose child is ended first goes on with its next line.
function Get-Tree([int]$Id) {
    $Id
    foreach ($process in @(Get-Process -ErrorAction SilentlyContinue)) {
        $below = 0
        # One that ends meanwhile has no parent any more.
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
# Runs a script to one of four ends: its code; stopped after its time with all that it started; ended by an error; never begun. All but the
# first are an error here: they answer nothing.
function Invoke-Script([string]$Shell, [string]$Body, $List, [int]$Seconds) {
    Assert-Script $Shell $Body $List
    $isCmd = $Shell -ceq 'cmd'
    if ($Seconds -le 0) { $Seconds = 300 }
    # Where nothing was changed yet nothing is left: a script that only looks gets a folder of its own for a moment.
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
        # "exit" in a batch ends cmd.exe itself.
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
    # Endless output is not read into memory.
    if ((Get-Item -LiteralPath $Path -Force).Length -gt 1048576) { return "($((Get-Item -LiteralPath $Path -Force).Length) bytes of output, which are not shown)`n" }
    if ($Oem -or $PSVersionTable.PSVersion.Major -lt 6) { return [string](Get-Content -LiteralPath $Path -Raw -Encoding Oem) }
    return [string](Get-Content -LiteralPath $Path -Raw)
}
