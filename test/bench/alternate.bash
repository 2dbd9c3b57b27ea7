# Sourced by the scripts here. Peers are measured in turn, so that a machine that is busy for a while is busy for all of them,
# and by the median, because the best of a few runs is luck where others use the disk. Every run begins with nothing to be
# written back. $dir is the folder to work in. Where $beside is the process ID of a server that all of them ask, its processor time
# is counted with theirs: on a machine that others use that still says how much work there was.

# alternate RUNS NAME...: calls the functions NAME, one after the other, RUNS times, and before each, unmeasured, before_NAME
# where there is one.
alternate() {
  local runs=$1 name round server
  local TIMEFORMAT='%R %U %S'
  shift
  for name in "$@"; do : >"$dir/$name.times"; done
  for ((round = 0; round < runs; round++)); do
    for name in "$@"; do
      rm -f "$dir"/out.*
      ! declare -F "before_$name" >/dev/null || "before_$name"
      sync -f "$dir" 2>/dev/null || sync
      server=$(served)
      { time "$name" >"$dir/$name.log" 2>&1; } 2>"$dir/time" || { cat "$dir/$name.log" >&2; return 1; }
      awk -v s="$(($(served) - server))" '{ printf "%d %d\n", $1 * 1000, ($2 + $3) * 1000 + s }' "$dir/time" >>"$dir/$name.times"
    done
  done
}

# served: the processor time of the server so far, in milliseconds (proc(5)).
served() {
  [ -n "${beside:-}" ] || { echo 0; return; }
  awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$beside/stat"
}

# took NAME and used NAME: the medians, in milliseconds, of the time and of the processor time.
took() { cut -d' ' -f1 "$dir/$1.times" | middle; }
used() { cut -d' ' -f2 "$dir/$1.times" | middle; }
middle() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# over A B: A divided by B.
over() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / (b > 0 ? b : 1) }'; }

# compare WHAT NAME PEER LIMIT NOTE: prints how much longer NAME takes than the function PEER, and how much more processor time,
# which says more on a machine that others use. The limit is that of the time.
compare() {
  echo "ratio $1 $(over "$(took "$2")" "$(took "$3")") $3 budget <= $4 ($5)"
  echo "ratio $1-cpu $(over "$(used "$2")" "$(used "$3")") $3 (processor time of both ends)"
}

# within A LIMIT: whether A is at most LIMIT.
within() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }'; }
