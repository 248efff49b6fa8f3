package forgetest
