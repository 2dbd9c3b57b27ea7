# shutdown.exe of a simulated machine: it writes down what it was asked for; who simulates the machine restarts it.
$global:LASTEXITCODE = 0
if ([IO.File]::Exists("$($StandIn.Scratch).restart")) {
    'A system shutdown has already been scheduled.(1190)'
    $global:LASTEXITCODE = 1190
    return
}
[IO.File]::WriteAllLines("$($StandIn.Scratch).restart", [string[]]$args)
