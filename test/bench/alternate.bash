# Sourced by the scripts here. Peers are measured in turn, so that a machine that is busy for a while is busy for all of them,
# and by the median, because the best of a few runs is luck where others use the disk. Every run begins with nothing to be
# written back. $dir is the folder to work in.

# alternate RUNS NAME...: calls the functions NAME, one after the other, RUNS times.
alternate() {
  local runs=$1 name round
  local TIMEFORMAT='%R %U %S'
  shift
  for name in "$@"; do : >"$dir/$name.times"; done
  for ((round = 0; round < runs; round++)); do
    for name in "$@"; do
      rm -f "$dir"/out.*
      sync -f "$dir" 2>/dev/null || sync
      { time "$name" >"$dir/$name.log" 2>&1; } 2>"$dir/time" || { cat "$dir/$name.log" >&2; return 1; }
      awk '{ printf "%d %d\n", $1 * 1000, ($2 + $3) * 1000 }' "$dir/time" >>"$dir/$name.times"
    done
  done
}

# took NAME and used NAME: the medians, in milliseconds, of the time and of the processor time.
took() { cut -d' ' -f1 "$dir/$1.times" | middle; }
used() { cut -d' ' -f2 "$dir/$1.times" | middle; }
middle() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# over A B: A divided by B.
over() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / (b > 0 ? b : 1) }'; }

# within A LIMIT: whether A is at most LIMIT.
within() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }'; }
