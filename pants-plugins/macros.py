# ruff: noqa: F821 (the names are those of BUILD files, and SERVICES stands in cbs/bank.py)

PACKAGES = "//3rdparty/python/runtime#*"
PLATFORM = "//src/python/cbs/platform/**"
# What a service says of itself to everybody.
SAID = ("/__init__.py", "/service.py", "/invariants.py", "/invariants/*", "/outdated.py")
DECLARATIONS = tuple(f"//src/python/cbs/*{file}" for file in SAID)


def whole(*services):
    """All of these services; no import leads to their migrations, nor to a program run by name."""
    return [
        f"//src/python/cbs/{service}:{target}"
        for service in services
        for target in (service, "migrations")
    ]


def migrated(*services):
    """What makes the databases of these services, and nothing else of them."""
    return [f"//src/python/cbs/{service}:migrations" for service in services]


def may_use(*others):
    """What this folder may depend on: itself, the kernel, and what is named here."""
    __dependencies_rules__(
        (
            "*",
            "/**",
            "//src/python/cbs/__init__.py",
            "//src/python/cbs/bank.py",
            "//src/python/cbs/kernel/**",
            "//src/python/cbs/tools/__init__.py",
            *others,
            "!*",
        )
    )


def used_by(*others):
    """Who may depend on this folder: itself, tests, and who is named here."""
    __dependents_rules__(("*", "/**", "//tests/**", *others, "!*"))


def cbs_service():
    """A service: all sources of its folder, and one PEX of them that runs its main:main."""
    folder = build_file_dir().name
    may_use(PLATFORM, PACKAGES)
    __dependents_rules__(
        (
            list(SAID),
            "/**",
            "//tests/**",
            "//src/python/cbs/tools/**",
            "//src/python/cbs/simulation/**",
            "!*",
        ),
        # The simulation runs them whole, in its own process; pacts are what their clients work on.
        (
            "*",
            "/**",
            "//tests/**",
            "//src/python/cbs/tools/release/**",
            "//src/python/cbs/simulation/**",
            "!*",
        ),
    )
    python_sources(sources=["**/*.py", "!migrations/*.py"])
    python_sources(name="migrations", sources=["migrations/*.py"])
    pex_binary(
        name="pex",
        entry_point=f"cbs.{folder}.main:main",
        dependencies=whole(folder),
        execution_mode="venv",
        output_path=f"cbs/{folder}.pex",
        tags=["service"],
    )


def cbs_tests(dependencies=(), support=False, **kwargs):
    """A folder of tests: one pytest process, so that its files share the servers they start.

    `support`: beside its tests the folder holds what they share (conftest.py, fakes.py).
    """
    folder = build_file_dir().name
    service = whole(folder) if folder in SERVICES else []
    python_tests(
        name="tests",
        dependencies=[*service, *dependencies],
        batch_compatibility_tag=folder,
        **kwargs,
    )
    if support:
        python_test_utils(name="support", sources=["*.py", "!test_*.py"])


# By which tests are told whether there are a Nomad, a Consul and a Vault, and what else to try.
CLUSTER_VARIABLES = (
    "CBS_CONSUL_BINARY",
    "CBS_NOMAD_BINARY",
    "CBS_TEST_NIGHT",
    "CBS_VAULT_BINARY",
    "HOME",
    "PATH",
    "XDG_CACHE_HOME",
)


def cluster_tests(dependencies=(), **kwargs):
    """Tests of the whole bank, from its PEXes, on the real Nomad and Consul where those are."""
    cbs_tests(
        support=True,
        dependencies=["//:cluster", *dependencies],
        runtime_package_dependencies=[
            *[f"src/python/cbs/{each}:pex" for each in (*SERVICES, "gateway")],
            "src/python/cbs/tools/cli:pex",
        ],
        extra_env_vars=CLUSTER_VARIABLES,
        **kwargs,
    )
