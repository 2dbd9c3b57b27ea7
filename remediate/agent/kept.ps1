$ErrorActionPreference='Stop';$ProgressPreference='SilentlyContinue'
$v=$PSVersionTable.PSVersion;if($v -lt '5.1'){"fleetmend: PowerShell $v is too old";exit 93}
$l=@($input|ForEach-Object{([string]$_).TrimEnd("`r")})
if($l.Count -lt 3 -or $l[0] -notmatch '^fleetmend/2 ([0-9a-f]{64}) 0 (\d+)$'){"fleetmend: no envelope ($($l.Count) lines)";exit 90}
$h=$Matches[1];$b=[int]$Matches[2]
if($l.Count -lt $b+2 -or $l[$b+1] -cne 'fleetmend/end'){"fleetmend: cut short ($($l.Count) of $($b+2) lines)";exit 91}
try{$f="$env:ProgramData\fleetmend";$p="$f\agent\$h.ps1"
foreach($q in $f,"$f\agent",$p){
if([int](Get-Item -LiteralPath $q -Force).Attributes -band 1024){throw $q}
if($env:OS -eq 'Windows_NT' -or (Get-Command Get-Acl -ErrorAction SilentlyContinue)){
if((Get-Acl -LiteralPath $q).Sddl -cnotmatch '^O:(BA|SY|S-1-5-18|S-1-5-32-544)(G:[A-Z0-9-]+?)?D:[A-Z]*(\((D;[^()]*|A;([^();]*;){4}(BA|SY|S-1-5-18|S-1-5-32-544))\))+(S:.*)?\z'){throw $q}}}
if((Get-FileHash -LiteralPath $p).Hash -ne $h){throw $p}
$t=Get-Content -LiteralPath $p -Raw}catch{"fleetmend: send $h";exit 92}
$FleetmendText='';$FleetmendAgent=$h;$FleetmendEnvelope=$l[1..$b] -join ''
Invoke-Expression $t