#!/usr/bin/env node
// @ts-check
import { keepCompiledCode } from './compile-cache.js';

keepCompiledCode();
await import('./main.ts');
