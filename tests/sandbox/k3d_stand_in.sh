#!/bin/sh
# Plays k3d, helm, cilium and docker, under each of their names: writes down what it is told, and remembers which clusters
# there are, in the folder $STAND_IN. fail-PROGRAM in it makes that program fail once, with the file's content;
# kubeconfig-NAME in it is what k3d says of that cluster.
program=${0##*/}
{
  printf '%s' "$program"
  for word; do printf '\t%s' "$word"; done
  printf '\n%s\t%s\n' "${K3D_FIX_MOUNTS:-}" "${KUBECONFIG:-}"
} >> "$STAND_IN/told"
if [ -f "$STAND_IN/fail-$program" ]; then
  while read -r line; do echo "$line" >&2; done < "$STAND_IN/fail-$program"
  /bin/rm "$STAND_IN/fail-$program"
  exit 1
fi
[ "$program" = k3d ] || exit 0

known="$STAND_IN/$1"
case "$1 $2" in
"cluster create")
  while read -r key value; do [ "$key" = name: ] && echo 1 > "$known-$value"; done < "$4"
  ;;
"registry create")
  echo 1 > "$known-k3d-$3"
  ;;
"cluster start" | "cluster stop")
  verb=$2
  shift 2
  for name; do if [ "$verb" = start ]; then echo 1; else echo 0; fi > "$known-$name"; done
  ;;
"cluster list" | "registry list")
  separator='['
  for file in "$known"-*; do
    [ -f "$file" ] || continue
    read -r runs < "$file"
    printf '%s{"name": "%s", "serversRunning": %s}' "$separator" "${file#"$known"-}" "$runs"
    separator=', '
  done
  [ "$separator" = '[' ] && printf '['
  printf ']'
  ;;
"kubeconfig get")
  if [ -f "$STAND_IN/kubeconfig-$3" ]; then
    while IFS= read -r line; do printf '%s\n' "$line"; done < "$STAND_IN/kubeconfig-$3"
  else
    printf 'clusters: [{name: k3d-%s, cluster: {server: "https://127.0.0.1:6550"}}]\n' "$3"
  fi
  ;;
esac
exit 0
