# Options in Kaldi's manner: `option foo_bar 3 "words"` declares --foo-bar and sets foo_bar=3; `parse_options "$@"`
# reads the command line. To be sourced, after log.sh.
#
# The default tells the kind: a whole number asks for a whole number, a decimal for a number, true or false for one
# of the two, and anything else takes any text. Unknown options are refused; --help prints all with their defaults.
# Where a default depends on other options it is left empty, and `default_option` gives it once those are known.

option_names=()
declare -A option_default=() option_help=() option_given=()

option() {  # NAME DEFAULT HELP
  option_names+=("$1")
  option_default[$1]=$2
  option_help[$1]=$3
  printf -v "$1" %s "$2"
}

parse_options() {
  local flag name
  while (($#)); do
    flag=$1 name=${1#--} name=${name//-/_}
    case $flag in
      --help | -h) print_usage; exit 0 ;;
      --*=*) refuse "options are written $(tr = ' ' <<<"$flag"), with a space" ;;
      --[a-z]*) ;;
      *) refuse "unexpected argument $flag (--help lists the options)" ;;
    esac
    [[ $name =~ ^[a-z0-9_]+$ && -v option_default[$name] ]] || refuse "unknown option $flag (--help lists them)"
    (($# > 1)) || refuse "option $flag needs a value"
    check_option "$flag" "${option_default[$name]}" "$2"
    printf -v "$name" %s "$2"
    option_given[$name]=1
    shift 2
  done
}

default_option() {  # NAME DEFAULT, after parse_options
  if [[ -v option_given[$1] ]]; then
    check_option "--${1//_/-}" "$2" "${!1}"
  else
    printf -v "$1" %s "$2"
  fi
}

check_option() {  # FLAG DEFAULT VALUE
  local whole='^[0-9]+$' number='^[0-9]+([.][0-9]+)?$'
  case $2 in
    true | false) [[ $3 == true || $3 == false ]] || refuse "option $1 is true or false, not '$3'" ;;
    *) if [[ $2 =~ $whole ]]; then
         [[ $3 =~ $whole ]] || refuse "option $1 is a whole number, not '$3'"
       elif [[ $2 =~ $number ]]; then
         [[ $3 =~ $number ]] || refuse "option $1 is a number, not '$3'"
       fi ;;
  esac
}

print_usage() {
  local name
  echo "usage: ${0##*/} [--option value ...]"
  [[ -z ${usage:-} ]] || printf '%s\n' "$usage"
  for name in "${option_names[@]}"; do
    printf '  --%-15s %s\n' "${name//_/-}" \
      "${option_help[$name]}${option_default[$name]:+ (default: ${option_default[$name]})}"
  done
}
