# Lists what can be broken in a script, by PowerShell's own parser: points.ps1 FILE. One JSON list of {start, end, kind, function, with}:
# the characters from start to end are replaced. Nothing inside a throw's text is listed, nor the lists of names at the top.
param([Parameter(Mandatory)][string]$Path)
$ErrorActionPreference = 'Stop'
$errors = $null
$tokens = $null
$tree = [Management.Automation.Language.Parser]::ParseFile((Resolve-Path $Path).Path, [ref]$tokens, [ref]$errors)
if ($errors.Count -gt 0) { throw "$($errors[0])" }
$opposite = @{
    Ieq = '-ne'; Ine = '-eq'; Ceq = '-cne'; Cne = '-ceq'; Ilt = '-ge'; Ige = '-lt'; Igt = '-le'; Ile = '-gt'; And = '-or'; Or = '-and'
    Imatch = '-notmatch'; Inotmatch = '-match'; Cmatch = '-cnotmatch'; Cnotmatch = '-cmatch'; Icontains = '-notcontains'
    Inotcontains = '-contains'; Ccontains = '-cnotcontains'; Cnotcontains = '-ccontains'; Is = '-isnot'; IsNot = '-is'; Plus = '-'
}
function Get-Function($Node) {
    for ($up = $Node.Parent; $null -ne $up; $up = $up.Parent) { if ($up -is [Management.Automation.Language.FunctionDefinitionAst]) { return $up.Name } }
    return ''
}
function Test-Inside($Node, [type]$Type) {
    for ($up = $Node.Parent; $null -ne $up; $up = $up.Parent) { if ($up -is $Type) { return $true } }
    return $false
}
$points = New-Object Collections.Generic.List[object]
function Add-Point($Extent, [string]$Kind, [string]$With, $Node) {
    if (Test-Inside $Node ([Management.Automation.Language.ThrowStatementAst])) { return }
    $points.Add([ordered]@{ start = $Extent.StartOffset; end = $Extent.EndOffset; kind = $Kind; function = (Get-Function $Node); with = $With })
}
foreach ($node in $tree.FindAll({ $true }, $true)) {
    switch ($node.GetType().Name) {
        'IfStatementAst' { foreach ($clause in $node.Clauses) { Add-Point $clause.Item1.Extent 'condition negated' "-not ($($clause.Item1.Extent.Text))" $node } }
        'BinaryExpressionAst' {
            $with = $opposite[[string]$node.Operator]
            if ($null -ne $with) { Add-Point $node.ErrorPosition 'comparison turned' $with $node }
        }
        { $_ -in 'PipelineAst', 'ThrowStatementAst', 'AssignmentStatementAst', 'ReturnStatementAst', 'ContinueStatementAst' } {
            # A statement of a block, not a part of one; what gives a value to a name is left in, or nothing after it could run.
            $alone = $node.Parent -is [Management.Automation.Language.StatementBlockAst] -or $node.Parent -is [Management.Automation.Language.NamedBlockAst]
            $member = $node -is [Management.Automation.Language.AssignmentStatementAst] -and $node.Left.Extent.Text -notmatch '[.\[]'
            if ($alone -and -not $member -and -not (Test-Inside $node ([Management.Automation.Language.SubExpressionAst])) ) { Add-Point $node.Extent 'statement left out' '$null = 0' $node }
        }
        'ConstantExpressionAst' { if ($node.Value -is [int]) { Add-Point $node.Extent 'literal changed' ([string]($node.Value + 1)) $node } }
        'StringConstantExpressionAst' {
            if ($node.StringConstantType -eq 'SingleQuoted' -and $node.Value.Length -gt 0) { Add-Point $node.Extent 'literal changed' ("'" + $node.Value.Replace("'", "''") + "~'") $node }
        }
        'VariableExpressionAst' {
            $name = $node.VariablePath.UserPath
            if ($name -eq 'true' -or $name -eq 'false') { Add-Point $node.Extent 'literal changed' ('$' + @{ 'true' = 'false'; 'false' = 'true' }[$name]) $node }
        }
    }
}
ConvertTo-Json -InputObject $points -Compress -Depth 3
