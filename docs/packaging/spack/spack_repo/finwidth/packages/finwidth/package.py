# SPDX-License-Identifier: GPL-3.0-or-later
from spack_repo.builtin.build_systems.cmake import CMakePackage

from spack.package import *


class Finwidth(CMakePackage):
    """Predicts how neural networks of finite width learn, and checks each prediction against the network itself."""

    homepage = "https://arxiv.org/abs/2209.04882"
    # url, git and versions with checksums belong to a release; until then the source is a clone: spack develop --path
    version("main")

    license("GPL-3.0-or-later")

    depends_on("c", type="build")
    depends_on("cmake@3.20:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("petsc@3.18: +mpi +double ~complex ~int64")
    depends_on("hdf5@1.10: +mpi +hl")
    depends_on("netlib-scalapack")
    depends_on("lapack")
    depends_on("gsl")
    depends_on("random123")
    depends_on("libyaml")
    depends_on("zlib-api")
    depends_on("xxhash")
    depends_on("gnuplot+cairo", type="run")

    def cmake_args(self):
        return [self.define("BUILD_TESTING", False)]

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def check_install(self):
        Executable(self.prefix.bin.finwidth)("selftest")
