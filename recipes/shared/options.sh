# Options in Kaldi's manner: `option foo_bar 3 "words"` declares --foo-bar and sets foo_bar=3; `parse_options "$@"`
# reads the command line. Source this file after log.sh.
#
# The default determines the type of the value: integer, number, true or false, or any text. --foo-bar=3 is the same as
# --foo-bar 3, and a switch (true or false) without a value is true. Unknown options are errors; --help prints all
# options with their defaults.
# If a default depends on other options, leave it empty and set it with `default_option` after `parse_options`; add the
# word switch after the help text if the value will be true or false.

option_names=()
declare -A option_default=() option_help=() option_given=() option_switch=()

option() {  # NAME DEFAULT HELP [switch]
  option_names+=("$1")
  option_default[$1]=$2
  option_help[$1]=$3
  if [[ ${4:-} == switch || $2 == true || $2 == false ]]; then option_switch[$1]=1; fi
  printf -v "$1" %s "$2"
}

parse_options() {
  local flag name value
  while (($#)); do
    flag=$1
    shift
    case $flag in
      --help | -h) print_usage; exit 0 ;;
      --version) print_version; exit 0 ;;
      --[a-z]*) ;;
      *) refuse "unexpected argument $flag (--help lists the options)" ;;
    esac
    name=${flag%%=*} name=${name#--} name=${name//-/_}
    [[ $name =~ ^[a-z0-9_]+$ && -v option_default[$name] ]] || refuse "unknown option ${flag%%=*} (--help lists them)"
    if [[ $flag == *=* ]]; then
      value=${flag#*=}
    elif [[ -v option_switch[$name] && ($# == 0 || $1 == --*) ]]; then
      value=true
    else
      (($#)) || refuse "option $flag needs a value"
      value=$1
      shift
    fi
    check_option "${flag%%=*}" "${option_default[$name]}" "$value"
    printf -v "$name" %s "$value"
    option_given[$name]=1
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
    true | false) [[ $3 == true || $3 == false ]] || refuse "option $1 must be true or false, not '$3'" ;;
    *) if [[ $2 =~ $whole ]]; then
         [[ $3 =~ $whole ]] || refuse "option $1 must be a whole number, not '$3'"
       elif [[ $2 =~ $number ]]; then
         [[ $3 =~ $number ]] || refuse "option $1 must be a number, not '$3'"
       fi ;;
  esac
}

print_version() {
  local package
  package=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../hainan_k2" && pwd)
  sed -n "s/^__version__ = \"\(.*\)\".*/${0##*/} \1/p" "$package/__init__.py"
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
