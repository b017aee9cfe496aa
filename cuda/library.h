/* Functions of a library that is opened at run time. */
#ifndef DN_CUDA_LIBRARY_H
#define DN_CUDA_LIBRARY_H

/* Keeps what dlsym has found; false: the library lacks it. */
template <typename Function> static bool dn_take_symbol(Function *&function, void *found)
{
    function = reinterpret_cast<Function *>(found);
    return found != nullptr;
}

#endif
