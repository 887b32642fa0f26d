# The environment that every script runs in: a Java, a Python, a virtual environment with pinned packages.
#
# Source this file, then call `use_environment main` (Spark 4, in .venv) or `use_environment spark35` (Spark 3.5, in
# .venv-spark35). It makes what is missing, sets ROOT and VENV, and exports what Spark needs. A later call reads the
# stamp that the first one wrote last, and costs well under a second. Written for bash 3.2, which macOS has.
#
# Tests run four more beside these: `use_environment lenskit` makes .venv-lenskit, for a peer that needs packages of its
# own; `airflow` .venv-airflow, which parses a DAG; `platforms` .venv-platforms, which has Spark Connect, MLflow and
# Jupyter; and `executor` .venv-executor, which has only what executors need. The latter needs the Python of the
# environment that the driver runs in: set WALS_PYTHON_EXECUTOR to that.
#
# You may set JAVA_HOME, WALS_PYTHON (the Python to build .venv with), and WALS_PYTHON_SPARK35, WALS_PYTHON_LENSKIT,
# WALS_PYTHON_AIRFLOW and WALS_PYTHON_PLATFORMS (the same for the others). Without them the first that fits is taken.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LINES_OF_LOG_SHOWN=20

use_environment() { # main | spark35 | lenskit | airflow | platforms | executor
  WITH_SPARK=yes
  case $1 in
    main)
      VENV=$ROOT/.venv REQUIREMENTS=$ROOT/requirements/test.txt LOG=$ROOT/build/setup.log
      PYTHON_VARIABLE=WALS_PYTHON OLDEST_PYTHON=10 NEWEST_PYTHON=14
      OLDEST_JAVA=17 NEWEST_JAVA=25 JAVA_SPAN="17 to 25"
      JAVA_ADVICE="Debian: apt-get install openjdk-17-jre-headless, from Debian 13 on openjdk-21-jre-headless; Fedora: dnf install java-21-openjdk-headless; macOS: brew install openjdk@21"
      ;;
    spark35) # Spark 3.5 knows Java 17 at most, and PySpark 3.5 was tried here up to Python 3.13
      VENV=$ROOT/.venv-spark35 REQUIREMENTS=$ROOT/requirements/spark35.txt LOG=$ROOT/build/setup-spark35.log
      PYTHON_VARIABLE=WALS_PYTHON_SPARK35 OLDEST_PYTHON=10 NEWEST_PYTHON=13
      OLDEST_JAVA=17 NEWEST_JAVA=17 JAVA_SPAN="17, which Spark 3.5 needs,"
      JAVA_ADVICE="Debian 12, Ubuntu: apt-get install openjdk-17-jre-headless; Fedora: dnf install java-17-openjdk-headless; macOS: brew install openjdk@17"
      ;;
    lenskit)
      VENV=$ROOT/.venv-lenskit REQUIREMENTS=$ROOT/requirements/lenskit.txt LOG=$ROOT/build/setup-lenskit.log
      PYTHON_VARIABLE=WALS_PYTHON_LENSKIT OLDEST_PYTHON=10 NEWEST_PYTHON=11 WITH_SPARK=no
      ;;
    airflow)
      VENV=$ROOT/.venv-airflow REQUIREMENTS=$ROOT/requirements/airflow.txt LOG=$ROOT/build/setup-airflow.log
      PYTHON_VARIABLE=WALS_PYTHON_AIRFLOW OLDEST_PYTHON=10 NEWEST_PYTHON=13 WITH_SPARK=no
      ;;
    platforms)
      VENV=$ROOT/.venv-platforms REQUIREMENTS=$ROOT/requirements/platforms.txt LOG=$ROOT/build/setup-platforms.log
      PYTHON_VARIABLE=WALS_PYTHON_PLATFORMS OLDEST_PYTHON=11 NEWEST_PYTHON=13 WITH_SPARK=no
      ;;
    executor)
      VENV=$ROOT/.venv-executor REQUIREMENTS=$ROOT/requirements/executor.txt LOG=$ROOT/build/setup-executor.log
      PYTHON_VARIABLE=WALS_PYTHON_EXECUTOR OLDEST_PYTHON=10 NEWEST_PYTHON=14 WITH_SPARK=no
      ;;
    *) die "use_environment knows main, spark35, lenskit, airflow, platforms and executor, not $1" ;;
  esac
  WANTED_PYTHON=${!PYTHON_VARIABLE-}
  # Another Spark's home, modules and cluster settings, left in the user's shell, would mix with the Spark that pip
  # installs here: its scripts would start that Spark's JVM, or ask that cluster for workers.
  unset SPARK_HOME SPARK_CONF_DIR HADOOP_CONF_DIR YARN_CONF_DIR PYSPARK_SUBMIT_ARGS PYTHONPATH PYTHONHOME
  mkdir -p "$ROOT/build"
  if [ "$WITH_SPARK" = no ]; then
    environment_is_ready || set_up_environment
    return
  fi
  find_java || install_java
  if ! environment_is_ready; then
    say "Java $JAVA_VERSION found in $JAVA_HOME"
    set_up_environment
  fi
  export JAVA_HOME
  export PYSPARK_PYTHON=$VENV/bin/python PYSPARK_DRIVER_PYTHON=$VENV/bin/python # workers run the driver's Python
  export SPARK_LOCAL_IP=${SPARK_LOCAL_IP-127.0.0.1} # else a host name that does not resolve stops Spark at its start
}

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

logged() { # WHAT COMMAND...: runs the command into the log, and shows the log's end if it fails
  local what=$1
  shift
  printf '\n$ %s\n' "$*" >>"$LOG"
  "$@" >>"$LOG" 2>&1 </dev/null && return
  say "error: $what failed. The end of $LOG:"
  tail -n "$LINES_OF_LOG_SHOWN" "$LOG" >&2
  exit 1
}

# ---- the virtual environment

environment_is_ready() {
  local version
  version=$(version_of_python "$VENV/bin/python")
  [ -n "$version" ] && [ -f "$VENV/stamp" ] && [ "$(cat "$VENV/stamp")" = "$(stamp_of "$version")" ] || return 1
  [ -z "$WANTED_PYTHON" ] || [ "$(version_of_python "$WANTED_PYTHON")" = "$version" ]
}

stamp_of() { # VERSION: where the environment stands, its Python, and the checksum of all that says what goes in
  printf '%s\n%s\n' "$VENV" "$1"
  cat "$ROOT"/requirements/*.txt "$ROOT/setup.py" | cksum
}

version_of_python() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || true; }

set_up_environment() {
  local version
  choose_python
  version=$(version_of_python "$PYTHON")
  lock
  if ! environment_is_ready; then # else another run has made it while this one waited
    printf '\n==== %s\n' "$(date)" >>"$LOG"
    if ! was_finished_with "$version"; then
      need_ensurepip
      say "Creating ${VENV##*/} with Python $version ..."
      rm -rf "$VENV"
      logged "Making ${VENV##*/}" "$PYTHON" -m venv "$VENV"
    fi
    rm -f "$VENV/stamp" # from here to the new stamp, a run that is interrupted leaves what the next one makes anew
    say "Installing pinned packages (once; a few minutes on a fresh machine; log in ${LOG#"$ROOT"/}) ..."
    local packages=(-r "$REQUIREMENTS")
    if [ "$WITH_SPARK" = yes ]; then packages+=(-e "$ROOT"); fi
    logged "Installing packages" "$VENV/bin/python" -m pip --disable-pip-version-check --no-input \
      install --use-pep517 "${packages[@]}"
    stamp_of "$version" >"$VENV/stamp.new"
    mv "$VENV/stamp.new" "$VENV/stamp"
  fi
  unlock
}

choose_python() { # sets PYTHON
  local span="3.$OLDEST_PYTHON to 3.$NEWEST_PYTHON"
  if [ -n "$WANTED_PYTHON" ]; then
    python_fits "$WANTED_PYTHON" || die "$PYTHON_VARIABLE=$WANTED_PYTHON is not a working Python $span; name another, or unset it to have one searched for"
    PYTHON=$WANTED_PYTHON
    return
  fi
  for PYTHON in python3 python3.13 python3.12 python3.11 python3.10 python3.14; do
    ! python_fits "$PYTHON" || return 0
  done
  die "no Python $span found. Install one (Debian: apt-get install python3 python3-venv; Fedora: dnf install python3.12; macOS: brew install python@3.12) or set $PYTHON_VARIABLE to its path"
}

python_fits() { # COMMAND: works, and is neither too old nor too new
  "$1" -c "import sys; sys.exit(not (3, $OLDEST_PYTHON) <= sys.version_info[:2] <= (3, $NEWEST_PYTHON))" 2>/dev/null
}

was_finished_with() { # VERSION: set up to the end once, at this place, with this Python; then pip can bring it up to date
  [ -f "$VENV/stamp" ] && [ "$(version_of_python "$VENV/bin/python")" = "$1" ] &&
    [ "$(head -n 2 "$VENV/stamp")" = "$(printf '%s\n%s' "$VENV" "$1")" ]
}

need_ensurepip() { # Debian cuts it out of python3, into a package of its own
  local package
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null && return
  package=$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if can_apt_install && apt_has "$package"; then
    say "Installing $package ..."
    logged "Installing $package" apt_install "$package"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null && return
  fi
  die "$PYTHON cannot make virtual environments. Run: sudo apt-get install $package (where there is no such package: set $PYTHON_VARIABLE to a Python that has ensurepip)"
}

# One set-up at a time. Python takes the lock on a file that this shell holds open, because macOS has no flock command;
# the lock ends when the shell closes the file or dies, so it cannot be left behind.
lock() {
  exec 9>>"$ROOT/build/setup.lock"
  "$PYTHON" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null && return
  say "Waiting for another set-up to end ..."
  "$PYTHON" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' 2>/dev/null || true # a file system without locks: go on
}

unlock() { exec 9>&-; }

# ---- Java

find_java() { # sets JAVA_HOME and JAVA_VERSION: the caller's own Java if it fits, else the oldest installed that fits
  local java oldest='' its_home='' its_version=''
  ! java_fits "${JAVA_HOME:-/nowhere}/bin/java" || return 0
  ! java_fits "$(command -v java || true)" || return 0
  for java in /usr/lib/jvm/*/bin/java /usr/java/*/bin/java /opt/java/*/bin/java "$HOME"/.sdkman/candidates/java/*/bin/java \
    {,"$HOME"}/Library/Java/JavaVirtualMachines/*/Contents/Home/bin/java \
    {/opt/homebrew,/usr/local,/home/linuxbrew/.linuxbrew}/opt/openjdk*/bin/java; do
    if java_fits "$java" && { [ -z "$oldest" ] || [ "$(java_major "$JAVA_VERSION")" -lt "$oldest" ]; }; then
      oldest=$(java_major "$JAVA_VERSION") its_home=$JAVA_HOME its_version=$JAVA_VERSION
    fi
  done
  [ -n "$oldest" ] || return 1
  JAVA_HOME=$its_home JAVA_VERSION=$its_version
}

java_fits() { # PATH: if this java runs and fits, sets JAVA_HOME and JAVA_VERSION
  local told version major home
  [ -x "$1" ] && told=$("$1" -XshowSettings:properties -version 2>&1 </dev/null) || return 1
  version=$(sed -n 's/.* version "\([^"]*\)".*/\1/p' <<<"$told")
  major=$(java_major "$version")
  [ "$major" -ge "$OLDEST_JAVA" ] && [ "$major" -le "$NEWEST_JAVA" ] || return 1
  home=$(sed -n 's/^ *java\.home = //p' <<<"$told") # the real place, behind links and macOS's /usr/bin/java
  JAVA_HOME=${home:-$(cd "$(dirname "$1")/.." && pwd)} JAVA_VERSION=$version
}

java_major() { # VERSION: 1.8.0_392 is 8, 17.0.15 is 17, 21 is 21, 25-ea is 25; anything else is 0
  local digits=${1#1.}
  digits=${digits%%[!0-9]*}
  echo "${digits:-0}"
}

install_java() {
  local major
  if can_apt_install; then
    for major in 17 21 25; do # Debian 12 has 17 alone, Debian 13 has 21 and 25
      if [ "$major" -ge "$OLDEST_JAVA" ] && [ "$major" -le "$NEWEST_JAVA" ] && apt_has "openjdk-$major-jre-headless"; then
        say "Installing Java $major (apt-get install openjdk-$major-jre-headless) ..."
        logged "Installing Java $major" apt_install "openjdk-$major-jre-headless"
        find_java && return
      fi
    done
  fi
  die "no Java $JAVA_SPAN found. Install one ($JAVA_ADVICE) or set JAVA_HOME to it"
}

# ---- Debian's packages

can_apt_install() { command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

apt_has() { # PACKAGE: can be installed. Reads the lists anew first, which a fresh machine does not have
  as_root apt-get update >>"$LOG" 2>&1 </dev/null 9>&- || true # one dead source must not stop the others
  as_root apt-get install --simulate "$1" >/dev/null 2>&1 </dev/null 9>&- # apt-cache also shows what is only a name
}

apt_install() { # PACKAGE; the lock's file is closed for it, lest something that apt starts holds the lock
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$1" 9>&-
}
