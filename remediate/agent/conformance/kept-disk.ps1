# A simulated machine as it is at one moment: its sum, a copy of it, and the way back to where it was, because it knows its own place.
# All that lies beside its folder is a part of it but .called and .children, which say what was called.
function Get-DiskFiles([string]$Scratch) {
    foreach ($beside in [IO.Directory]::GetFileSystemEntries([IO.Path]::GetDirectoryName($Scratch), [IO.Path]::GetFileName($Scratch) + '*')) {
        if ($beside.EndsWith('.called', [StringComparison]::Ordinal) -or $beside.EndsWith('.children', [StringComparison]::Ordinal)) { continue }
        $beside
        if ([IO.Directory]::Exists($beside)) { [IO.Directory]::GetFileSystemEntries($beside, '*', 'AllDirectories') }
    }
}
# Names, links, contents and the times of files; a folder's time changes with the names in it.
function Get-DiskSum([string]$Scratch) {
    $all = [string[]]@(Get-DiskFiles $Scratch)
    [Array]::Sort($all, [StringComparer]::Ordinal)
    $sums = foreach ($one in $all) {
        $file = New-Object IO.FileInfo $one
        if ($null -ne $file.LinkTarget) { "$one -> $($file.LinkTarget)" }
        elseif (([int]$file.Attributes -band 16) -ne 0) { "$one/" }
        else {
            # What lies beside the folder is written anew by the stand-ins, whether it changes or not.
            $time = ''
            if ($one.StartsWith("$Scratch/", [StringComparison]::Ordinal) -or $one.StartsWith("$Scratch.D/", [StringComparison]::Ordinal)) { $time = $file.LastWriteTimeUtc.Ticks }
            "$one $time $([Convert]::ToHexString([Security.Cryptography.SHA256]::HashData([IO.File]::ReadAllBytes($one))))"
        }
    }
    return [Convert]::ToHexString([Security.Cryptography.SHA256]::HashData([Text.Encoding]::UTF8.GetBytes($sums -join "`n")))
}
function Save-Copy([string]$Scratch, [string]$Folder) {
    [void][IO.Directory]::CreateDirectory($Folder)
    & /bin/sh -c 'cp -a "$0"* "$1"' $Scratch $Folder
}
function Restore-Copy([string]$Scratch, [string]$Folder) {
    & /bin/sh -c 'rm -rf "$0"*; cp -a "$1"/* "$2"' $Scratch $Folder ([IO.Path]::GetDirectoryName($Scratch))
}
