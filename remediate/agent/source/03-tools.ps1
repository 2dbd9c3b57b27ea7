# --- Windows' tools -----------------------------------------------------------------------------------------------------------------
# By full path, arguments as an array, output as text. No localised text is ever read: what a tool says is in its exit code.
function Invoke-Native([string]$Name, [string[]]$Arguments) {
    Assert-Online $Name
    return (Invoke-Running $Name $Arguments)
}
# The tool of the Windows that runs, whatever it works on: with its output in files, because only so its wait can have an end.
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
# A name in Windows' own folder, where ordinary users cannot write.
function Get-Aside { return $env:SystemRoot.TrimEnd('\') + '\fleetmend-' + [guid]::NewGuid().ToString('N') }
# As a C program reads its command line.
function Join-Arguments([string[]]$Arguments) {
    $words = foreach ($one in $Arguments) {
        if ($one -cmatch '^[^\s"]+\z') { $one }
        else { '"' + [regex]::Replace([regex]::Replace($one, '(\\*)"', '$1$1\"'), '(\\+)\z', '$1$1') + '"' }
    }
    return (@($words) -join ' ')
}
# Waits for a program; one whose time is over, or whose output would fill the disk, is ended with all that it started.
function Wait-End($Process, [int]$Seconds, [string]$Stem) {
    $null = $Process.Handle
    $inTime = $false
    $script:Flooded = $false
    for ($left = $Seconds; $left -gt 0 -and -not $inTime -and -not $script:Flooded; $left -= 2) {
        $slice = 2
        if ($left -lt 2) { $slice = $left }
        # Also refused when the process has ended before.
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
