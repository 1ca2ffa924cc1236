# What matters of each test that failed, at most 40 lines of it:
#   awk -f tests/failures.awk OUTPUT_OF_CTEST .../Testing/Temporary/LastTest.log
# Of tests in GoogleTest that is from each "Failure", or report of a sanitizer, to the name of its
# test; of others, and of one that was killed, the end.
FNR == 1 { file++ }

file == 1 && /^The following tests FAILED:/ { listing = 1; next }
file == 1 && listing && match($0, /^\t *[0-9]+ - /) {
  name = substr($0, RLENGTH + 1)
  how = name
  sub(/ \([^()]*\)[^()]*$/, "", name)
  failed[name] = how
  next
}
file == 1 { listing = 0; next }

/^[0-9]+\/[0-9]+ Test: / { name = $0; sub(/^[^:]*: /, "", name); count = -5; next }  # 5 of header
/^<end of output>$/ && name in failed {
  print "-- " failed[name]
  delete failed[name]
  start = count > 40 ? count - 39 : 1
  picked = 0
  inside = 0
  for (i = 1; i <= count && picked < 40; i++) {
    if (line[i] ~ /: Failure$|Sanitizer: |: runtime error: /) inside = 1
    if (!inside) continue
    print "   " line[i]
    picked++
    if (line[i] ~ /^\[ *(OK|FAILED) *\]/) inside = 0
  }
  for (i = start; i <= count && picked == 0; i++) print "   " line[i]
}
{ line[++count] = $0 }

# What did not even start
END { for (name in failed) print "-- " failed[name] }
