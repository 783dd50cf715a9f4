// Which instruction set the CPU kernels use.
#include "../cpu/variants.h"

#include <string>
#include <utility>

#include "arguments.h"
#include "module.h"

namespace x2c::bindings {

namespace {

constexpr std::pair<const char*, x2c::cpu::Variant> kVariants[] = {{"baseline", x2c::cpu::Variant::kBaseline},
                                                                   {"avx2", x2c::cpu::Variant::kAvx2},
                                                                   {"neon", x2c::cpu::Variant::kNeon}};

py::list cpu_variants() {
    py::list names;
    for (const auto& [name, variant] : kVariants) {
        if (x2c::cpu::supported(variant)) names.append(name);
    }
    return names;
}

std::string cpu_variant() {
    for (const auto& [name, variant] : kVariants) {
        if (variant == x2c::cpu::current_variant()) return name;
    }
    return "";
}

void set_cpu_variant(const std::string& wanted) {
    for (const auto& [name, variant] : kVariants) {
        if (wanted == name && x2c::cpu::supported(variant)) return x2c::cpu::set_variant(variant);
    }
    reject("name", "expected one of " + text(cpu_variants()) + ", got '" + wanted + "'");
}

}  // namespace

void define_variants(py::module_& module) {
    module.def("cpu_variants", &cpu_variants,
               "Instruction sets that the CPU kernels can use here: 'baseline', and 'avx2' or 'neon'.");
    module.def("cpu_variant", &cpu_variant, "The one in use: the last of cpu_variants() unless it was set.");
    module.def("set_cpu_variant", &set_cpu_variant, py::arg("name"),
               "Choose one of cpu_variants() for the whole process; for tests and comparisons.");
}

}  // namespace x2c::bindings
