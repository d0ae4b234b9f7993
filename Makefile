# The only place that knows commands. `make` alone prints them.
ifeq ($(OS),Windows_NT)
PYTHON ?= python
VENV_PYTHON := .venv/Scripts/python.exe
else
PYTHON ?= python3
VENV_PYTHON := .venv/bin/python
endif

.PHONY: help setup run lab test oldest book pdf slides browser student capstone quiz cheatsheet torture bench rivals outputs network clean

help:
	$(info make setup    makes .venv with all packages; quick when nothing changed)
	$(info make run      runs the whole series: results in build/notebooks, the book of them in build/html)
	$(info make lab      opens the series in JupyterLab)
	$(info make test     checks style, modules, notebooks, exercises)
	$(info make oldest   runs the tests and every lesson with the lowest versions that requirements.txt allows)
	$(info make book     makes the book from the stored outputs: build/html/index.html)
	$(info make pdf      prints the book: build/book.pdf)
	$(info make slides   makes a deck of each lesson to present: build/slides/index.html)
	$(info make browser  opens lessons, decks and pages in a real JupyterLab and a headless Chromium, and checks them)
	$(info make student  makes a copy of the series without solutions and outputs: build/student)
	$(info make capstone FILE=my_checkpoints.py  plays forty cases on checkpoint functions of your own, and prints the score)
	$(info make quiz     prints the questions of all lessons, a page each, and the key: build/quiz.pdf)
	$(info make cheatsheet  prints docs/cheatsheet.md on one page: build/cheatsheet.pdf)
	$(info make torture  damages checkpoints, kills saves, plays a full disk: the whole fault matrix, with a table)
	$(info make bench    measures training, loading and saving as ratios; let the machine do nothing else)
	$(info make rivals   plays the same faults on checkpoints.py and five other ways to save: docs/rivals.md)
	$(info make outputs  executes the notebooks in place and stores their outputs in one form)
	$(info make network  trains the network of lesson 02 again, and writes data/trained_network.pth)
	$(info make clean    removes build/ and caches, not .venv)
	$(info Another Python: make PYTHON=python3.12 run)
	@cd .

setup:
	@$(PYTHON) tools/set_up.py

run: setup
	@"$(VENV_PYTHON)" tools/run_series.py

# Not the notebook's path: Jupyter would take its folder for the whole project.
lab: setup
	"$(VENV_PYTHON)" -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

# One thread each: two processes that both use two threads on two cores slow each other down tenfold.
test: export OMP_NUM_THREADS = 1
test: setup
	"$(VENV_PYTHON)" -m ruff check
	"$(VENV_PYTHON)" -m ruff format --check
	"$(VENV_PYTHON)" -m pytest -n 2 --dist worksteal --durations=10

# No stored outputs: the newest versions wrote them, and others word some errors otherwise.
oldest: export OMP_NUM_THREADS = 1
oldest:
	@$(PYTHON) tools/set_up.py --oldest
	"$(subst .venv,.venv-oldest,$(VENV_PYTHON))" -m pytest -n 2 --dist worksteal --durations=10 \
		--deselect=tests/lessons/test_notebook_runs.py::test_strict_nbval_on_every_notebook

# Executes nothing: `make run` makes the same book of what it has executed.
book: setup
	@"$(VENV_PYTHON)" tools/book.py

pdf: setup
	@"$(VENV_PYTHON)" tools/pdf.py

slides: setup
	@"$(VENV_PYTHON)" tools/slides.py

browser: export OMP_NUM_THREADS = 1
browser: slides build/html/index.html
	"$(VENV_PYTHON)" -m pytest -n 2 --dist worksteal --durations=10 tests/browser

# After make run the book is there already.
build/html/index.html:
	@$(MAKE) book

student: setup
	@"$(VENV_PYTHON)" tools/student.py

capstone: setup
	@"$(VENV_PYTHON)" notebooks/capstone.py "$(FILE)"

quiz: setup
	@"$(VENV_PYTHON)" tools/quiz.py

cheatsheet: setup
	@"$(VENV_PYTHON)" tools/cheatsheet.py

torture: export OMP_NUM_THREADS = 1
torture: export TORTURE = full
torture: export PYTHONPATH = tests/checkpoints
torture: setup
	"$(VENV_PYTHON)" -m pytest -n 2 --dist worksteal -p torture_table tests/checkpoints tests/capstone

bench: setup
	"$(VENV_PYTHON)" benchmarks/train.py
	"$(VENV_PYTHON)" benchmarks/checkpoint.py

# In an environment of its own: the rivals need packages that the series does not.
rivals:
	@$(PYTHON) tools/set_up.py --rivals
	"$(subst .venv,.venv-rivals,$(VENV_PYTHON))" benchmarks/rivals.py

outputs: setup
	@"$(VENV_PYTHON)" tools/store_outputs.py

network: setup
	@"$(VENV_PYTHON)" tools/train_network.py

clean:
	@$(PYTHON) -c "import glob, shutil; [shutil.rmtree(path, True) for name in ('build', '.*_cache', '**/__pycache__', '**/.ipynb_checkpoints') for path in glob.glob(name, recursive=True)]"
